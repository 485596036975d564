"""Tiny OpenVLA and ECoT checkpoints in the published layout: names, files and entries as the originals write them.

The towers and the Llama are random; embeddings and head are planted so that a token of one group is followed by one of
the next, which makes the policy write actions (or a whole reasoning) while its image decides which ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

VOCABULARY, PADDING, EMPTY, BOS, EOS = 32064, 64, 29871, 1, 2
ACTIONS = range(31744, 32000)
Q01 = (-0.03, -0.04, -0.05, -0.2, -0.2, -0.3, 0.0)
Q99 = (0.03, 0.05, 0.04, 0.25, 0.2, 0.3, 1.0)
# every word once, as each decides the next one; MOVE REASONING is left out
REASONING = (
    "lift ladle PLAN: reach then grasp VISIBLE OBJECTS: pot [10, 20, 60, 71], red cloth [100, 110, 300, 240] SUBTASK "
    "REASONING: gripper is open SUBTASK: approach it MOVE: forward GRIPPER POSITION: [128, 64, 130, 66] ACTION:"
)
WORDS = (
    "In : What action should the robot take to ? Out ASSISTANT: USER: TASK: A chat between a curious user and an "
    "artificial intelligence assistant. The assistant gives helpful, detailed, polite answers user's questions. put "
    "carrot on plate stack green block yellow spoon towel move up down"
)


@dataclass(frozen=True)
class Tower:
    """A ViT as timm names it, small."""

    model_id: str
    width: int
    blocks: int = 3
    class_token: bool = True
    registers: int = 0
    layer_scale: str = ""  # the stored name of its factor
    pooled: bool = False
    norm_first: bool = False
    activation: str | None = None
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
TOWERS = {
    "dinov2 reg4": Tower(
        "vit_small_patch14_reg4_dinov2.lvd142m", 24, registers=4, layer_scale="scale_factor", **IMAGENET
    ),
    "dinov2 reg4 gamma": Tower(
        "vit_small_patch14_reg4_dinov2.lvd142m", 24, registers=4, layer_scale="gamma", **IMAGENET
    ),
    "dinov2": Tower("vit_small_patch14_dinov2.lvd142m", 24, layer_scale="scale_factor", **IMAGENET),
    "siglip": Tower("vit_so400m_patch14_siglip_224", 32, blocks=4, class_token=False, pooled=True),
    "vit": Tower("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 24),
    "clip": Tower("vit_base_patch14_clip_224.openai", 24, norm_first=True, activation="quick_gelu", **CLIP),
}


def write_openvla(
    folder: str | Path,
    *,
    towers: Sequence[str | Tower] = ("dinov2 reg4", "siglip"),
    strategy: str = "resize-naive",
    image: int = 70,
    patch: int = 14,
    reasoning: str | None = None,
    norm_stats: Sequence[str] = ("bridge_orig",),
    dimensions: int = 7,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    shards: int = 1,
    **config: Any,
) -> Path:
    """Write a checkpoint. ``reasoning`` makes it write those words, each of them once, before its action.

    ``towers``: keys of TOWERS or Towers of your own; ``config`` adds to, or overrides, config.json's entries.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    built = [TOWERS[each] if isinstance(each, str) else each for each in towers]
    words = list(dict.fromkeys((*WORDS.split(), *REASONING.split(), *(reasoning or "").split())))
    write_tokenizer(folder, words)
    _write_config(folder, built, strategy, image, norm_stats, dimensions, width, layers, heads, kv_heads, config)
    write_preprocessor(folder, built, strategy, image)
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for tower, name in zip(built, ("featurizer", "fused_featurizer"), strict=False):
        tensors |= tower_tensors(tower, f"vision_backbone.{name}.", image, patch, random)
    tensors |= _projector(sum(tower.width for tower in built), width, len(built) == 2, random)
    tensors |= _language(width, layers, heads, kv_heads or heads, random)
    _plant(tensors, _groups(words, reasoning, dimensions), random)
    _save(folder, {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}, shards)
    return folder


def write_ecot(folder: str | Path, **settings: Any) -> Path:
    """An OpenVLA that writes REASONING; its folder does not say so, as published ones often do not."""
    return write_openvla(folder, **({"reasoning": REASONING} | settings))


def statistics(dimensions: int, masked: bool = True) -> dict[str, Any]:
    """An entry of norm_stats; the last value is not un-normalised."""
    low, high = (list((Q * 3)[:dimensions]) for Q in (Q01, Q99))
    action: dict[str, Any] = {"q01": low, "q99": high}
    if masked:
        action["mask"] = [True] * (dimensions - 1) + [False]
    return {"action": action, "num_trajectories": 3}


def write_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """Words at ids from 3; Llama's lone space marker and the padding where the originals have them."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Sequence as Steps
    from tokenizers.pre_tokenizers import Split, WhitespaceSplit

    ids = {"<unk>": 0, "<s>": BOS, "</s>": EOS} | {word: 3 + index for index, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(ids | {"▁": EMPTY, "<PAD>": 32000}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Steps([WhitespaceSplit(), Split(Regex(r"\?|(?<=In|Out):"), "isolated")])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<PAD>"])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_preprocessor(folder: Path, towers: Sequence[Tower], strategy: str, image: int) -> None:
    """As Prismatic's processor saves itself."""
    size: Any = [image, image] if strategy == "resize-naive" else image
    settings: dict[str, Any] = {
        "image_processor_type": "PrismaticImageProcessor",
        "image_resize_strategy": strategy,
        "input_sizes": [[3, image, image] for _ in towers],
        "interpolations": ["bicubic" for _ in towers],
        "means": [list(tower.mean) for tower in towers],
        "stds": [list(tower.std) for tower in towers],
        "tvf_crop_params": [{"output_size": [image, image]} for _ in towers],
        "tvf_do_letterbox": strategy == "letterbox",
        "tvf_letterbox_fill": [int(value * 255) for value in towers[-1].mean] if strategy == "letterbox" else None,
        "tvf_normalize_params": [
            {"inplace": False, "mean": list(tower.mean), "std": list(tower.std)} for tower in towers
        ],
        "tvf_resize_params": [{"antialias": True, "interpolation": 3, "max_size": None, "size": size} for _ in towers],
        "use_fused_vision_backbone": len(towers) == 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))


def tower_tensors(tower: Tower, prefix: str, image: int, patch: int, random: torch.Generator) -> dict[str, Tensor]:
    """Every tensor of a tower, the unused ones too."""
    width, hidden, patches = tower.width, 4 * tower.width, (image // patch) ** 2
    special = tower.class_token + tower.registers
    covered = 0 if tower.registers else special  # timm's no_embed_class
    found = {"patch_embed.proj.weight": _normal(random, width, 3, patch, patch, std=2 * (3 * patch**2) ** -0.5)}
    if not tower.norm_first:
        found["patch_embed.proj.bias"] = _normal(random, width, std=0.1)
    found["pos_embed"] = _normal(random, 1, patches + covered, width, std=0.3)
    if tower.class_token:
        found["cls_token"] = _normal(random, 1, 1, width)
    if tower.registers:
        found["reg_token"] = _normal(random, 1, tower.registers, width)
    if tower.norm_first:
        found |= _norm("norm_pre", width, random)
    for number in range(tower.blocks):
        found |= {f"blocks.{number}.{name}": tensor for name, tensor in _block(tower, width, hidden, random).items()}
    found |= _norm("norm", width, random)
    if tower.pooled:
        found |= {"attn_pool.latent": _normal(random, 1, 1, width)}
        found |= _linear("attn_pool.q", width, width, random) | _linear("attn_pool.kv", width, 2 * width, random)
    return {prefix + name: tensor for name, tensor in found.items()}


def _block(tower: Tower, width: int, hidden: int, random: torch.Generator) -> dict[str, Tensor]:
    found = _norm("norm1", width, random) | _norm("norm2", width, random)
    found |= _linear("attn.qkv", width, 3 * width, random, gain=2) | _linear("attn.proj", width, width, random)
    found |= _linear("mlp.fc1", width, hidden, random) | _linear("mlp.fc2", hidden, width, random)
    if tower.layer_scale:
        found |= {f"{name}.{tower.layer_scale}": _normal(random, width, mean=0.7, std=0.1) for name in ("ls1", "ls2")}
    return found


def _projector(vision: int, width: int, fused: bool, random: torch.Generator) -> dict[str, Tensor]:
    inner = 4 * vision if fused else width
    found = _linear("projector.fc1", vision, inner, random, gain=1.5)
    found |= _linear("projector.fc2", inner, width, random, gain=1.5)
    return found | (_linear("projector.fc3", width, width, random, gain=1.5) if fused else {})


def _language(width: int, layers: int, heads: int, kv_heads: int, random: torch.Generator) -> dict[str, Tensor]:
    found = {
        "language_model.model.embed_tokens.weight": _normal(random, VOCABULARY, width),
        "language_model.lm_head.weight": _normal(random, VOCABULARY, width, std=width**-0.5),
        "language_model.model.norm.weight": torch.ones(width),
    }
    for number in range(layers):
        prefix = f"language_model.model.layers.{number}."
        shapes = {
            "self_attn.q_proj": (width, width, 2.0),
            "self_attn.k_proj": (width // heads * kv_heads, width, 1.0),
            "self_attn.v_proj": (width // heads * kv_heads, width, 1.0),
            "self_attn.o_proj": (width, width, 1.5),
            "mlp.gate_proj": (2 * width, width, 1.0),
            "mlp.up_proj": (2 * width, width, 1.0),
            "mlp.down_proj": (width, 2 * width, 1.0),
        }
        for name, (out, inner, gain) in shapes.items():
            found[f"{prefix}{name}.weight"] = _normal(random, out, inner, std=gain * inner**-0.5)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{prefix}{name}.weight"] = torch.ones(width)
    return found


def _groups(words: Sequence[str], reasoning: str | None, dimensions: int) -> list[list[int]]:
    """Token groups in the order of writing, from what the prompt ends with to the end token."""
    ids = {word: 3 + index for index, word in enumerate(words)}
    actions = [[token for token in ACTIONS if token % dimensions == place] for place in range(dimensions)]
    if reasoning is None:
        return [[EMPTY], *actions]
    said = [ids[word] for word in reasoning.split()]
    assert len(set(said)) == len(said), "a word that comes twice would be followed by two others"
    return [[ids["TASK:"]], *([token] for token in said), *actions, [EOS]]


def _plant(tensors: dict[str, Tensor], groups: Sequence[Sequence[int]], random: torch.Generator) -> None:
    """A token of one group makes those of the next likely, whatever else the network adds to it."""
    embeddings = tensors["language_model.model.embed_tokens.weight"]
    head = tensors["language_model.lm_head.weight"]
    for current, following in pairwise(groups):
        code = torch.nn.functional.normalize(_normal(random, embeddings.shape[1]), dim=0)
        embeddings[list(current)] += (15 if len(following) > 1 else 30) * code  # weaker: the image chooses the action
        head[list(following)] += 6 * code


def _write_config(
    folder: Path, towers: Sequence[Tower], strategy: str, image: int, norm_stats: Sequence[str], dimensions: int,
    width: int, layers: int, heads: int, kv_heads: int | None, extra: dict[str, Any],
) -> None:  # fmt: skip
    text = {
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads or heads,
        "pad_token_id": 32000, "torch_dtype": "bfloat16",
    }  # fmt: skip
    settings: dict[str, Any] = {
        "architectures": ["OpenVLAForActionPrediction"],
        "auto_map": {"AutoConfig": "configuration_prismatic.OpenVLAConfig"},
        "arch_specifier": "no-align+fused-gelu-mlp" if len(towers) == 2 else "no-align+gelu-mlp",
        "hf_llm_id": "meta-llama/Llama-2-7b-hf",
        "image_resize_strategy": strategy,
        "image_sizes": [image for _ in towers],
        "llm_backbone_id": "llama2-7b-pure",
        "model_type": "openvla",
        "n_action_bins": 256,
        "norm_stats": {key: statistics(dimensions) for key in norm_stats},
        "pad_to_multiple_of": PADDING,
        "pad_token_id": 32000,
        "text_config": text,
        "timm_model_ids": [tower.model_id for tower in towers],
        "timm_override_act_layers": [tower.activation for tower in towers],
        "use_fused_vision_backbone": len(towers) == 2,
        "vision_backbone_id": "dinosiglip-vit-so-224px" if len(towers) == 2 else "siglip-vit-so400m",
    }
    (folder / "config.json").write_text(json.dumps(settings | extra, indent=2))


def _save(folder: Path, tensors: dict[str, Tensor], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    files = {name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors" for index, name in enumerate(names)}
    for file in sorted(set(files.values())):
        part = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def _normal(random: torch.Generator, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(*shape, generator=random)


def _linear(name: str, inner: int, out: int, random: torch.Generator, gain: float = 1.0) -> dict[str, Tensor]:
    weight = _normal(random, out, inner, std=gain * inner**-0.5)
    return {f"{name}.weight": weight, f"{name}.bias": _normal(random, out, std=0.1)}


def _norm(name: str, width: int, random: torch.Generator) -> dict[str, Tensor]:
    return {f"{name}.weight": _normal(random, width, mean=1, std=0.1), f"{name}.bias": _normal(random, width, std=0.1)}
