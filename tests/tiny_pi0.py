"""Tiny random π0 checkpoints: transformers' own layout, and LeRobot policy folders of both its layouts.

The tokenizer that a LeRobot folder needs is written beside it, as paligemma-3b-pt-224.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tiny_checkpoints import SENTENCES

VOCABULARY = ("<pad>", "<eos>", "<bos>", "<unk>", "\n", *dict.fromkeys(SENTENCES.split()))
CAMERAS = ("base_0_rgb", "left_wrist_0_rgb")
TOKENIZER = "paligemma-3b-pt-224"
STATE_MEAN, STATE_STD = (0.1, -0.2, 0.3, 0.0, 0.5), (0.5, 0.25, 1.0, 2.0, 0.75)
ACTION_MEAN, ACTION_STD = (0.01, -0.02, 0.0, 0.5), (0.1, 0.2, 0.3, 0.5)


def write_tokenizer(folder: Path) -> Path:
    """Words, and the new line as a token of its own; <bos> first, as PaliGemma's."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({token: index for index, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(r"\n|[^ \n]+"), behavior="removed", invert=True)
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def network(
    seed: int = 0,
    layers: int = 3,
    heads: int = 4,
    key_heads: int = 1,
    head_dim: int = 16,
    width: int = 64,
    expert_width: int = 48,
    vision_heads: int = 4,
    image_size: int = 56,
    chunk: int = 5,
    steps: int = 3,
    action_dim: int = 8,
    state_dim: int = 8,
) -> Any:
    """A random PI0ForConditionalGeneration that sees its images, and looks where it looks sharply enough to compare."""
    import torch
    from transformers import PI0Config, PI0ForConditionalGeneration

    gemma = {
        "model_type": "gemma",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": head_dim,
        "vocab_size": len(VOCABULARY),
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": vision_heads,
        "image_size": image_size,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": {**gemma, "hidden_size": width, "intermediate_size": 2 * width},
            "vision_config": vision,
            "projection_dim": width,
            "image_token_index": len(VOCABULARY),
        },
        dit_config={**gemma, "hidden_size": expert_width, "intermediate_size": 2 * expert_width},
        chunk_size=chunk,
        max_action_dim=action_dim,
        max_state_dim=state_dim,
        num_inference_steps=steps,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PI0ForConditionalGeneration(config).eval()
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed_tokens" not in name:
                torch.nn.init.normal_(weight, std=1.2 * weight[0].numel() ** -0.5)
    return model


def write_pi0(folder: str | Path, *, statistics: bool = False, tokenizer: bool = True, **sizes: int) -> Path:
    """transformers' own layout, by its own save_pretrained."""
    folder = Path(folder)
    network(**sizes).save_pretrained(folder)
    if tokenizer:
        write_tokenizer(folder)
    if statistics:
        content = {"processor_class": "PI0Processor", "state_mean": STATE_MEAN, "state_std": STATE_STD}
        content |= {"actions_mean": ACTION_MEAN, "actions_std": ACTION_STD}
        (folder / "processor_config.json").write_text(json.dumps(content))
    return folder


def write_lerobot_pi0(
    folder: str | Path,
    *,
    old: bool = False,
    statistics: bool = True,
    cameras: Sequence[str] = CAMERAS,
    empty_cameras: int = 0,
    tokenizer: bool = True,
    names: Sequence[str] | None = None,
    vision_heads: int = 16,
    **sizes: int,
) -> Path:
    """A LeRobot policy folder; ``old`` writes names, settings and statistics as before v0.4."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = network(vision_heads=vision_heads, **sizes)
    weights = dict(stored(model.state_dict(), old))
    inputs = {f"observation.images.{camera}": {"type": "VISUAL", "shape": [3, 48, 64]} for camera in cameras}
    inputs |= {
        f"observation.images.empty_camera_{index}": {"type": "VISUAL", "shape": [3, 480, 640]}
        for index in range(empty_cameras)
    }
    inputs["observation.state"] = {"type": "STATE", "shape": [len(STATE_MEAN)]}
    config: dict[str, Any] = {
        "type": "pi0",
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": {"action": {"type": "ACTION", "shape": [len(ACTION_MEAN)]}},
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "chunk_size": model.config.chunk_size,
        "n_action_steps": model.config.chunk_size,
        "max_state_dim": model.config.max_state_dim,
        "max_action_dim": model.config.max_action_dim,
        "empty_cameras": empty_cameras,
        "tokenizer_max_length": 48,
    }
    side, steps = model.config.vlm_config.vision_config.image_size, model.config.num_inference_steps
    if old:
        config |= {"resize_imgs_with_padding": [side, side], "num_steps": steps, "proj_width": 1024}
        config |= {"adapt_to_pi_aloha": False, "use_delta_joint_actions_aloha": False}
        weights |= _buffers() if statistics else {}
    else:
        config |= {"image_resolution": [side, side], "num_inference_steps": steps, "min_period": 4e-3}
        config |= {"paligemma_variant": "gemma_2b", "action_expert_variant": "gemma_300m", "max_period": 4.0}
        config |= {"dtype": "float32", "use_relative_actions": False, "action_feature_names": names}
        _write_processors(folder, config, statistics)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if tokenizer:
        write_tokenizer(folder.parent / TOKENIZER)
    return folder


def stored(state: Mapping[str, Any], old: bool) -> Mapping[str, Any]:
    """By LeRobot's names: its embeddings are saved under the name of the head that they are tied to."""
    language = "language_model.model." if old else "model.language_model."
    inner = "" if old else "model."
    renamed = {
        "model.vlm.language_model.embed_tokens.": "language_model.lm_head." if old else "lm_head.",
        "model.vlm.language_model.": language,
        "model.vlm.vision_tower.": f"{inner}vision_tower.vision_model.",
        "model.vlm.multi_modal_projector.": f"{inner}multi_modal_projector.",
    }
    names: dict[str, Any] = {}
    for name, tensor in state.items():
        if name.startswith("model.dit.embed_tokens."):
            name = "paligemma_with_expert.gemma_expert.lm_head.weight"
        elif name.startswith("model.dit."):
            name = "paligemma_with_expert.gemma_expert.model." + name.removeprefix("model.dit.")
        else:
            name = name.removeprefix("embed_action_time.")
            before = next((start for start in renamed if name.startswith(start)), None)
            if before is not None:
                name = "paligemma_with_expert.paligemma." + renamed[before] + name.removeprefix(before)
        names[f"model.{name}"] = tensor
    return names


def _statistics() -> dict[str, Any]:
    import torch

    values = {"observation.state": (STATE_MEAN, STATE_STD), "action": (ACTION_MEAN, ACTION_STD)}
    return {
        f"{feature}.{name}": torch.tensor(value)
        for feature, both in values.items()
        for name, value in zip(("mean", "std"), both, strict=True)
    }


def _buffers() -> dict[str, Any]:
    values = _statistics()
    owners = {"normalize_inputs": "observation.state", "normalize_targets": "action", "unnormalize_outputs": "action"}
    return {
        f"{owner}.buffer_{feature.replace('.', '_')}.{name}": values[f"{feature}.{name}"].clone()
        for owner, feature in owners.items()
        for name in ("mean", "std")
    }


def _write_processors(folder: Path, config: Mapping[str, Any], statistics: bool) -> None:
    from safetensors.torch import save_file

    features = {**config["input_features"], **config["output_features"]}
    scale = {"eps": 1e-8, "features": features, "norm_map": config["normalization_mapping"]}
    tokenize = {"max_length": 48, "task_key": "task", "padding_side": "right", "padding": "max_length"}
    tokenize |= {"truncation": True, "tokenizer_name": f"google/{TOKENIZER}"}
    relative = {"enabled": False, "exclude_joints": ["gripper"], "action_names": None}
    before: list[dict[str, Any]] = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "pi0_new_line_processor", "config": {}},
        {"registry_name": "tokenizer_processor", "config": tokenize},
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
        {"registry_name": "relative_actions_processor", "config": relative},
        {"registry_name": "normalizer_processor", "config": scale},
    ]
    after: list[dict[str, Any]] = [
        {"registry_name": "unnormalizer_processor", "config": {**scale, "features": config["output_features"]}},
        {"registry_name": "absolute_actions_processor", "config": {"enabled": False}},
        {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}},
    ]
    for name, steps, index in (("policy_preprocessor", before, 6), ("policy_postprocessor", after, 0)):
        if statistics:
            steps[index]["state_file"] = f"{name}_step_{index}_{steps[index]['registry_name']}.safetensors"
            save_file(_statistics(), folder / steps[index]["state_file"])
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "steps": steps}, indent=2))
