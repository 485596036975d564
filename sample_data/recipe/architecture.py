"""The sample policy: a small PaliGemma, initialised so that it can learn to see in minutes rather than days."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import GemmaConfig, PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

from sample_data.recipe.frames import PIXELS
from sample_data.recipe.vocabulary import ACTION_0, ACTION_BINS, ID, PARTS, STATE_0, STATE_BINS, TOKENS, save_tokenizer
from sample_data.world.moment import ACTION_NAMES, ACTION_UNITS, STATE_NAMES
from sample_data.world.tabletop import FPS

WIDTH, HEADS, PATCH, VISION_LAYERS, LANGUAGE_LAYERS = 128, 4, 16, 4, 6
GRID = PIXELS // PATCH
IMAGE_TOKENS = GRID * GRID
DATA_SET = "vla_lens_tabletop"

STATE_LOW = np.array([0.14, -0.24, 0.0, -0.3, -0.3, -1.2, 0.0])
STATE_HIGH = np.array([0.46, 0.24, 0.26, 0.3, 0.3, 1.2, 0.09])
# Symmetric, so that zero lies midway between two bins next to each other, half a bin (0.12 mm) off.
ACTION_HIGH = np.array([0.03, 0.03, 0.03, 0.12, 0.12, 0.30, 1.0])
ACTION_LOW = np.array([*-ACTION_HIGH[:6], 0.0])


def state_bins(values: np.ndarray) -> np.ndarray:
    """State [..., 7] -> bins [..., 7], clipped."""
    share = (np.asarray(values) - STATE_LOW) / (STATE_HIGH - STATE_LOW)
    return np.clip(np.round(share * (STATE_BINS - 1)), 0, STATE_BINS - 1).astype(int)


def action_bins(values: np.ndarray) -> np.ndarray:
    """Actions [..., 7] in robot units -> bins [..., 7], clipped."""
    share = (np.asarray(values) - ACTION_LOW) / (ACTION_HIGH - ACTION_LOW)
    return np.clip(np.round(share * (ACTION_BINS - 1)), 0, ACTION_BINS - 1).astype(int)


def action_values(bins: np.ndarray) -> np.ndarray:
    """Bins [..., 7] -> actions [..., 7] in robot units."""
    return ACTION_LOW + np.asarray(bins) / (ACTION_BINS - 1) * (ACTION_HIGH - ACTION_LOW)


def new_model(seed: int = 5) -> PaliGemmaForConditionalGeneration:
    """Random weights with the starts that matter at this width (see sample_data/README.md)."""
    torch.manual_seed(seed)
    vision = SiglipVisionConfig(
        hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=VISION_LAYERS, num_attention_heads=HEADS,
        image_size=PIXELS, patch_size=PATCH, projection_dim=WIDTH, vision_use_head=False,
    )  # fmt: skip
    text = GemmaConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=LANGUAGE_LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=WIDTH // HEADS, max_position_embeddings=512,
        pad_token_id=ID["<pad>"], bos_token_id=ID["<bos>"], eos_token_id=ID["<eos>"],
        hidden_activation="gelu_pytorch_tanh", initializer_range=WIDTH**-0.5,
    )  # fmt: skip
    config = PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=ID["<image>"], projection_dim=WIDTH, hidden_size=WIDTH
    )
    model = PaliGemmaForConditionalGeneration(config)
    _start_positions(model)
    _start_embeddings(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def _start_positions(model: PaliGemmaForConditionalGeneration) -> None:
    """2-D sines: SigLIP's own start is ten times weaker than what the patches show."""
    rows, columns = np.meshgrid(np.arange(GRID), np.arange(GRID), indexing="ij")
    rates = 1 / 20 ** (np.arange(WIDTH // 4) / (WIDTH // 4))
    waves = [f(np.outer(axis.ravel(), rates)) for axis in (rows, columns) for f in (np.sin, np.cos)]
    tower = next(m for name, m in model.named_modules() if name.endswith("position_embedding"))
    tower.weight.copy_(torch.from_numpy(0.5 * np.concatenate(waves, axis=1)).float())


@torch.no_grad()
def _start_embeddings(model: PaliGemmaForConditionalGeneration, generator: torch.Generator) -> None:
    """Bins of numbers start as rotated Fourier features of their value: neighbours look alike."""
    table = model.get_input_embeddings().weight
    table.normal_(0, WIDTH**-0.5, generator=generator)
    rates = torch.logspace(np.log10(0.4), np.log10(20), WIDTH // 2)[None]
    for first, count in ((ACTION_0, ACTION_BINS), (STATE_0, STATE_BINS)):
        angle = 2 * np.pi * rates * torch.linspace(0, 1, count)[:, None]
        waves = torch.cat([angle.sin(), angle.cos()], dim=1) * 2**0.5
        turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0]
        kind = 0.3 * torch.randn(1, WIDTH, generator=generator)
        own = 0.1 * torch.randn(count, WIDTH, generator=generator)
        table[first : first + count] = (0.9 * waves @ turn + kind + own) * WIDTH**-0.5
    projector = model.model.multi_modal_projector.linear
    projector.weight.normal_(0, WIDTH**-0.5, generator=generator)
    projector.bias.zero_()


def pixels(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [B, 128, 128, 3] -> float [B, 3, 128, 128] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def save_checkpoint(model: PaliGemmaForConditionalGeneration, folder: Path, name: str, rationale: bool) -> None:
    """An ordinary Hugging Face folder in bfloat16, with what a robot needs beside it under "vla"."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = model.dtype
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    model.to(kept)
    save_tokenizer(folder)
    preprocessor = {
        "image_processor_type": "SiglipImageProcessor", "do_convert_rgb": True, "do_resize": True,
        "size": {"height": PIXELS, "width": PIXELS}, "resample": 4, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_seq_length": IMAGE_TOKENS,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
    config = json.loads((folder / "config.json").read_text())
    config["vla"] = _robot_settings(name, rationale)
    limits = {"q01": ACTION_LOW.tolist(), "q99": ACTION_HIGH.tolist(), "mask": [True] * 7}
    config["norm_stats"] = {DATA_SET: {"action": limits}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _robot_settings(name: str, rationale: bool) -> dict:
    settings = {
        "name": name,
        "prompt": "{instruction} {state}",
        "lowercase": True,
        "state": {
            "names": list(STATE_NAMES), "low": STATE_LOW.tolist(), "high": STATE_HIGH.tolist(),
            "bins": STATE_BINS, "first_token": "<s000>",
        },
        "action": {
            "names": list(ACTION_NAMES), "units": list(ACTION_UNITS), "chunk": 1,
            "bins": ACTION_BINS, "first_token": "<a000>", "begin": "<act>",
        },
        "fps": FPS,
    }  # fmt: skip
    if rationale:
        settings["rationale"] = {"order": "rationale first", "parts": PARTS, "max_tokens": 110}
    return settings
