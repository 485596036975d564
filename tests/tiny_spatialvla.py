"""Tiny random SpatialVLA checkpoints in the published layout: names of tensors, files and their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.tiny_checkpoints import SENTENCES

WORDS = tuple(dict.fromkeys((*"What action should the robot take to ? : .".split(), "\n", *SENTENCES.split())))
HEADINGS = ("Observation", "Situation", "analysis", "Spatial", "reasoning", "Task", "planning")
VOCABULARY = tuple(dict.fromkeys(("<pad>", "<eos>", "<bos>", "<unk>", *WORDS, *HEADINGS, "<image>")))
BINS: Mapping[str, Any] = {
    "translation": {"theta_bins": 4, "phi_bins": 4, "r_bins": 2},
    "rotation": {"roll_bins": 3, "pitch_bins": 3, "yaw_bins": 3},
    "gripper": 2,
}
SPATIAL_TOKENS = 4 * 4 * 2 + 3 * 3 * 3 + 2
EDGES: Mapping[str, Mapping[str, Sequence[float]]] = {  # of uneven cells, as fitted to data
    "translation": {
        "theta_bins": [0.0, 1.2, 1.6, 2.1, 3.141592653589793],
        "phi_bins": [-3.141592653589793, -1.0, 0.1, 1.3, 3.141592653589793],
        "r_bins": [0.0, 0.6, 1.7320508075688772],
    },
    "rotation": {
        "roll_bins": [-1.0, -0.2, 0.3, 1.0],
        "pitch_bins": [-1.0, -0.1, 0.2, 1.0],
        "yaw_bins": [-1.0, -0.3, 0.1, 1.0],
    },
}
INTRINSICS = {
    "bridge_orig/1.0.0": {"intrinsic": [[60.0, 0, 32.0], [0, 60.0, 24.0], [0, 0, 1]], "height": 48, "width": 64},
    "default": {"intrinsic": [[90.0, 0, 30.0], [0, 90.0, 30.0], [0, 0, 1]], "height": 60, "width": 60},
}
LOW, HIGH = (-0.03, -0.04, -0.03, -0.08, -0.09, -0.2, 0.0), (0.03, 0.04, 0.04, 0.08, 0.08, 0.2, 1.0)
IMAGE, PATCH, VISION_WIDTH = 56, 14, 32


def write_tiny_spatialvla(
    folder: str | Path,
    *,
    seed: int = 0,
    chunk: int = 2,
    depth: bool = True,
    metric_heads: int = 1,
    spatial: bool = True,
    kv_heads: int = 2,
    tied: bool = False,
    data_sets: Sequence[str] = ("bridge_orig/1.0.0",),
    processor: Mapping[str, Any] | None = None,
    rationale: Mapping[str, Any] | None = None,
    shard: bool = False,
    **text_settings: Any,
) -> Path:
    """Write a checkpoint of random weights that sees its image.

    ``spatial``: action tokens are read with rows of their own; ``tied``: the head is the embeddings; ``processor``:
    fields of processor_config.json that differ; ``rationale``: the section of config.json that a tuned one has;
    ``text_settings`` go to the text tower.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(folder)
    text = _text_config(kv_heads, tied, text_settings)
    vision = _vision_config(text["hidden_size"])
    zoe = _zoe_config(metric_heads) if depth else None
    config = {
        "model_type": "spatialvla",
        "architectures": ["SpatialVLAForConditionalGeneration"],
        "auto_map": {"AutoModel": "modeling_spatialvla.SpatialVLAForConditionalGeneration"},
        "image_token_index": VOCABULARY.index("<image>"),
        "action_token_begin_idx": len(VOCABULARY),
        "spatial_token_num": SPATIAL_TOKENS,
        "use_spatial_token": spatial,
        "use_vision_zoe": depth,
        "ego3d_patch_reso": 2,
        "n_freqs": 4,
        "projection_dim": text["hidden_size"],
        "hidden_size": text["hidden_size"],
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "text_config": text,
        "vision_config": vision,
        **({"vision_zoe_config": zoe} if zoe else {}),
        **({"rationale": rationale} if rationale else {}),
    }
    _write(folder / "config.json", config)
    _write(folder / "preprocessor_config.json", _preprocessor())
    _write(folder / "processor_config.json", {**_processor(chunk, data_sets), **(processor or {})})
    _weights(folder, seed, text, vision, zoe, spatial, shard)
    return folder


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2))


def _tokenizer(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    actions = [f"<ACTION{number:05d}>" for number in range(SPATIAL_TOKENS)]
    ids = {token: index for index, token in enumerate((*VOCABULARY, *actions))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex(r"[?:.\n]"), "isolated")]
    )
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", "<image>", *actions])
    tokenizer.save(str(folder / "tokenizer.json"))


def _preprocessor() -> dict[str, Any]:
    return {
        "image_processor_type": "SiglipImageProcessor",
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_seq_length": (IMAGE // PATCH) ** 2,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": IMAGE, "width": IMAGE},
    }


def _processor(chunk: int, data_sets: Sequence[str]) -> dict[str, Any]:
    action = {"q01": list(LOW), "q99": list(HIGH), "mask": [True] * 6 + [False]}
    return {
        "action_chunk_size": chunk,
        "action_config": {"distribution": "gaussian", "num_bins": BINS, "use_spherical": True},
        "bin_policy": EDGES,
        "intrinsic_config": INTRINSICS,
        "num_obs_steps": 1,
        "obs_delta": 1,
        "statistics": {key: {"action": action} for key in data_sets},
    }


def _text_config(kv_heads: int, tied: bool, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "gemma2",
        "vocab_size": len(VOCABULARY) + SPATIAL_TOKENS,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": kv_heads,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "max_position_embeddings": 56,
        "sliding_window": 24,  # shorter than the prompt, so that sliding layers keep fewer keys than full ones
        "tie_word_embeddings": tied,
        **settings,
    }


def _vision_config(projection: int) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": IMAGE,
        "patch_size": PATCH,
        "projection_dim": projection,
        "vision_use_head": False,
    }


def _zoe_config(metric_heads: int) -> dict[str, Any]:
    bins = [{"name": "nyu", "n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}]
    bins += [{"name": "kitti", "n_bins": 8, "min_depth": 0.001, "max_depth": 80.0}] if metric_heads == 2 else []
    return {
        "model_type": "zoedepth",
        "backbone_config": {
            "model_type": "beit",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": 384,
            "patch_size": 16,
            "use_relative_position_bias": True,
            "reshape_hidden_states": False,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "neck_hidden_sizes": [8, 8, 8, 8],
        "fusion_hidden_size": 8,
        "num_relative_features": 8,
        "bottleneck_features": 8,
        "bin_embedding_dim": 8,
        "num_attractors": [4, 3, 2, 1],
        "bin_configurations": bins,
        "num_patch_transformer_layers": 4 if metric_heads == 2 else None,
        "patch_transformer_hidden_size": 128 if metric_heads == 2 else None,
        "patch_transformer_intermediate_size": 32 if metric_heads == 2 else None,
        "patch_transformer_num_attention_heads": 2 if metric_heads == 2 else None,
    }


def _weights(
    folder: Path,
    seed: int,
    text: Mapping[str, Any],
    vision: Mapping[str, Any],
    zoe: Mapping[str, Any] | None,
    spatial: bool,
    shard: bool,
) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        SiglipVisionConfig,
        SiglipVisionModel,
        ZoeDepthConfig,
        ZoeDepthForDepthEstimation,
    )

    width = text["hidden_size"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = SiglipVisionModel(SiglipVisionConfig(**vision))
        torch.nn.init.normal_(tower.embeddings.patch_embedding.weight, std=2 * (3 * PATCH**2) ** -0.5)
        tensors = {f"vision_tower.vision_model.{name}": each for name, each in _stored(tower).items()}
        language = Gemma2ForCausalLM(Gemma2Config(**{**text, "initializer_range": width**-0.5}))
        for layer in language.model.layers:  # or the residual stream repeats the last token for ever
            layer.self_attn.q_proj.weight.data.mul_(3)
            layer.self_attn.o_proj.weight.data.mul_(4)
        language.get_output_embeddings().weight.data[1] = 0  # the end is never the likeliest token
        tensors |= {f"language_model.{name}": each for name, each in _stored(language).items()}
        projector = "multi_modal_projector.linear"
        tensors[f"{projector}.weight"] = torch.randn(width, VISION_WIDTH) * VISION_WIDTH**-0.5
        tensors[f"{projector}.bias"] = torch.randn(width) * 0.1
        if spatial:
            tensors["spatial_embed_tokens.weight"] = torch.randn(SPATIAL_TOKENS, width) * width**-0.5
        if zoe is not None:
            found = _stored(ZoeDepthForDepthEstimation(ZoeDepthConfig(**{**zoe, "initializer_range": 0.2})))
            tensors |= {f"vision_zoe_model.{name}": each for name, each in found.items()}
            tensors |= _ego3d()
    if not shard:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    files = {name: f"model-{1 + index % 2:05d}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        part = {name: tensors[name] for name in names if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})


def _stored(model: Any) -> dict[str, Any]:
    """Tensors under the names that transformers writes them with, which are those of the hub's files."""
    from safetensors.torch import load_file

    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def _ego3d() -> dict[str, Any]:
    import torch

    head, code = "position_embedding_3d.position_embedding_head", 12 * (2 * 4 + 1)
    return {
        f"{head}.0.weight": torch.randn(VISION_WIDTH, code) * code**-0.5,
        f"{head}.0.bias": torch.randn(VISION_WIDTH) * 0.1,
        f"{head}.1.weight": 1 + torch.randn(VISION_WIDTH) * 0.1,
        f"{head}.1.bias": torch.randn(VISION_WIDTH) * 0.1,
        f"{head}.3.weight": torch.randn(VISION_WIDTH, VISION_WIDTH) * VISION_WIDTH**-0.5,
        f"{head}.3.bias": torch.randn(VISION_WIDTH) * 0.1,
    }
