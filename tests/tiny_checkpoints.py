"""Tiny random-weight checkpoints in the published layouts, so that tests need no network and no trained weights.

``python -m tests.tiny_checkpoints OUT`` writes OUT/base and OUT/tuned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gap")
STATE_LOW = (0.1, -0.3, 0.0, -0.5, -0.5, -1.6, 0.0)
STATE_HIGH = (0.5, 0.3, 0.3, 0.5, 0.5, 1.6, 0.1)
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")
ACTION_LOW = (-0.03, -0.04, -0.05, -0.2, -0.2, -0.3, 0.0)
ACTION_HIGH = (0.03, 0.04, 0.05, 0.2, 0.2, 0.3, 1.0)
STATE_BINS, ACTION_BINS = 128, 256
PARTS = {"<obs>": "observation", "<sit>": "situation", "<spa>": "spatial", "<plan>": "planning"}
SPECIALS = ("<pad>", "<bos>", "<eos>", "<image>", "<unk>", "<act>", *PARTS)
SENTENCES = (
    "put the spoon on towel carrot plate stack green block yellow eggplant in basket pick up red cup and place it "
    "gripper is open closed empty holding left right front behind above below of near far at by cm move down lift "
    "grasp release now then done i see a . , :"
)


def _tokenizer(folder: Path, vocabulary: Sequence[str], controls: Sequence[str]) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens(list(controls))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)


def _preprocessor(folder: Path, image_size: int) -> None:
    settings = {
        "image_processor_type": "SiglipImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 4,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))


def _text_config(kind: str, vocabulary: int, width: int, layers: int, heads: int, kv_heads: int, **extra: Any) -> Any:
    from transformers import Gemma2Config, GemmaConfig

    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": width**-0.5,  # transformers' 0.02 makes a narrow model ignore its image
    }
    if kind == "gemma2":
        # a window shorter than the prompt, so that sliding layers keep fewer keys than full ones
        settings |= {"query_pre_attn_scalar": width // heads, "sliding_window": 48, "attn_logit_softcapping": 5.0}
        return Gemma2Config(**(settings | extra))
    return GemmaConfig(**(settings | extra))


def _robot(name: str, rationale: bool, order: str, chunk: int, max_tokens: int, state: bool) -> dict[str, Any]:
    robot: dict[str, Any] = {
        "name": name,
        "prompt": "{instruction} {state}" if state else "{instruction}",
        "lowercase": True,
        "action": {
            "names": list(ACTION_NAMES),
            "units": list(ACTION_UNITS),
            "chunk": chunk,
            "bins": ACTION_BINS,
            "first_token": "<a000>",
            "begin": "<act>",
        },
        "fps": 5,
    }
    if state:
        robot["state"] = {
            "names": list(STATE_NAMES),
            "low": list(STATE_LOW),
            "high": list(STATE_HIGH),
            "bins": STATE_BINS,
            "first_token": "<s000>",
        }
    if rationale:
        robot["rationale"] = {"order": order, "parts": PARTS, "max_tokens": max_tokens}
    return robot


def write_action_token_paligemma(
    folder: str | Path,
    *,
    rationale: bool,
    seed: int = 0,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    width: int = 64,
    vision_layers: int = 2,
    vision_heads: int = 4,
    image_size: int = 128,
    patch: int = 16,
    text: str = "gemma",
    chunk: int = 1,
    order: str = "rationale first",
    max_tokens: int = 12,
    state: bool = True,
    norm_stats: Sequence[str] = ("vla_lens_tabletop",),
    name: str | None = None,
    shard: str | None = None,
    tuned_from: int | None = None,
    **text_settings: Any,
) -> Path:
    """Write a checkpoint as docs/checkpoint-action-tokens.md describes; weights are random but see the image.

    ``text`` is "gemma" or "gemma2" (soft-capped, sliding windows); ``kv_heads`` below ``heads`` gives grouped-query
    attention; ``shard`` such as "200KB" splits the weights over several files; language layers from ``tuned_from`` up
    differ from those of the same seed without it; ``text_settings`` go to the text tower.
    """
    import torch
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipVisionConfig

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    controls = (
        *SPECIALS,
        *(f"<s{i:03d}>" for i in range(STATE_BINS)),
        *(f"<a{i:03d}>" for i in range(ACTION_BINS)),
    )
    vocabulary = (*controls, *dict.fromkeys(SENTENCES.split()), *(str(i) for i in range(31)))
    _tokenizer(folder, vocabulary, controls)
    _preprocessor(folder, image_size)
    vision = SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=vision_layers,
        num_attention_heads=vision_heads,
        image_size=image_size,
        patch_size=patch,
        projection_dim=width,
        vision_use_head=False,
    )
    language = _text_config(text, len(vocabulary), width, layers, heads, kv_heads or heads, **text_settings)
    config = PaliGemmaConfig(
        vision_config=vision,
        text_config=language,
        image_token_index=vocabulary.index("<image>"),
        projection_dim=width,
        hidden_size=width,
        vocab_size=len(vocabulary),
    )
    config.vla = _robot(name or folder.name, rationale, order, chunk, max_tokens, state)
    action = {"q01": list(ACTION_LOW), "q99": list(ACTION_HIGH), "mask": [True] * len(ACTION_NAMES)}
    config.norm_stats = {key: {"action": action} for key in norm_stats}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PaliGemmaForConditionalGeneration(config)
        projector = model.model.multi_modal_projector.linear
        torch.nn.init.normal_(projector.weight, std=width**-0.5)
        patches = model.model.vision_tower.embeddings.patch_embedding
        torch.nn.init.normal_(patches.weight, std=2 * (3 * patch * patch) ** -0.5)
        for layer in model.model.language_model.layers:  # or the residual stream repeats the last token for ever
            layer.self_attn.q_proj.weight.data.mul_(3)
            layer.self_attn.o_proj.weight.data.mul_(4)
            layer.mlp.down_proj.weight.data.mul_(2)
        for layer in model.model.language_model.layers[tuned_from if tuned_from is not None else layers :]:
            for weight in layer.parameters():
                weight.data.add_(0.1 * weight.data.std() * torch.randn_like(weight))
        embeddings = model.get_input_embeddings().weight.data
        embeddings[[vocabulary.index(marker) for marker in PARTS]] *= 1.5  # likelier, so that a text has parts
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    return folder


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write_action_token_paligemma(out / "base", rationale=False)
    write_action_token_paligemma(out / "tuned", rationale=True, tuned_from=2)
    print(f"wrote {out / 'base'} and {out / 'tuned'}")
