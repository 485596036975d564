"""What the files of a vision-language checkpoint say. Imports neither torch nor transformers."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from models.checkpoint import number_type
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.types import CheckpointSpec

UNUSED = {  # what older files hold besides weights
    "*.position_ids": "a buffer that transformers computes itself",
    "*.rotary_emb.inv_freq": "a buffer that transformers computes itself",
}


@dataclass(frozen=True)
class Tower:
    """What transformers takes for what a configuration leaves out."""

    layers: int
    heads: int
    image: int = 0
    patch: int = 0


# transformers leaves values out of config.json that equal its own defaults: model_type -> them
TEXT = {
    "llama": Tower(32, 32),
    "mistral": Tower(32, 32),
    "gemma": Tower(28, 16),
    "gemma2": Tower(26, 8),
    "qwen2": Tower(32, 32),
    "qwen2_vl": Tower(80, 64),
    "qwen2_vl_text": Tower(80, 64),
    "qwen2_5_vl": Tower(80, 64),
    "qwen2_5_vl_text": Tower(80, 64),
}
VISION = {
    "clip_vision_model": Tower(12, 12, 224, 32),
    "siglip_vision_model": Tower(12, 12, 224, 16),
    "idefics3_vision": Tower(12, 16, 224, 32),
    "smolvlm_vision": Tower(12, 16, 224, 32),
    "qwen2_vl_vision": Tower(32, 16, 0, 14),
    "qwen2_5_vl_vision": Tower(32, 16, 0, 14),
}
LLAVA_TOWER = Tower(24, 16, 336, 14)  # where config.json has no vision_config at all


@dataclass(frozen=True)
class Kind:
    """What a model_type's sub-configurations are where they do not say so themselves."""

    text: str
    vision: str
    one_grid: bool  # every image has the same rows and columns of tokens


KINDS: Mapping[str, Kind] = {
    "paligemma": Kind("gemma", "siglip_vision_model", True),
    "llava": Kind("llama", "clip_vision_model", True),
    "llava_next": Kind("llama", "clip_vision_model", False),
    "idefics3": Kind("llama", "idefics3_vision", False),
    "smolvlm": Kind("llama", "smolvlm_vision", False),
    "qwen2_vl": Kind("qwen2_vl", "qwen2_vl_vision", False),
    "qwen2_5_vl": Kind("qwen2_5_vl", "qwen2_5_vl_vision", False),
}


def inspect_vlm(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights, a kind of model that is not known, or a configuration that makes no sense.

    The spec has no action space: such a model only writes text.
    """
    config = files.config()
    kind = kind_of(config)
    text = config.section("text_config") if config.has("text_config") else config
    weights = files.tensors()
    usual = TEXT.get(text.text("model_type", default=kind.text), TEXT[kind.text])
    tower, size, patch = _vision(config, kind)
    grid = (size // patch, size // patch) if kind.one_grid else (0, 0)
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=files.folder.resolve().name,
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=text.integer("num_hidden_layers", default=usual.layers),
        heads=text.integer("num_attention_heads", default=usual.heads),
        vision_layers=tower.layers,
        vision_heads=tower.heads,
        patch_grid=grid,
        image_size=(size, size),
        cameras=(),
        action_space=None,
        action_stats=(),
        generates_rationale=True,
        unused={pattern: why for pattern, why in UNUSED.items() if fnmatch.filter(weights, pattern)},
        notes=_notes(config),
    )


def kind_of(config: ConfigSection) -> Kind:
    """Raises UserError for a model_type that no test here covers."""
    model_type = config.text("model_type")
    if model_type not in KINDS:
        raise UserError(
            f"{config.where} model_type is {model_type!r}; the vision-language models that can be opened are "
            f"{', '.join(KINDS)}"
        )
    return KINDS[model_type]


def _vision(config: ConfigSection, kind: Kind) -> tuple[Tower, int, int]:
    """Layers and heads of the tower, side of its images and of a patch in pixels (0: it depends on the image)."""
    if not config.has("vision_config"):
        usual = LLAVA_TOWER if kind.vision == "clip_vision_model" else VISION[kind.vision]
        return usual, usual.image, usual.patch
    vision = config.section("vision_config")
    usual = VISION.get(vision.text("model_type", default=kind.vision), VISION[kind.vision])
    qwen = kind.vision.startswith("qwen")
    layers, heads = ("depth", "num_heads") if qwen else ("num_hidden_layers", "num_attention_heads")
    tower = Tower(vision.integer(layers, default=usual.layers), vision.integer(heads, default=usual.heads))
    patch = vision.integer("patch_size", default=usual.patch)
    return tower, 0 if qwen else vision.integer("image_size", default=usual.image), patch


def _notes(config: ConfigSection) -> dict[str, str]:
    notes: dict[str, str] = {}
    if config.has("action_token_begin_idx"):  # DeepThinkVLA
        notes["actions"] = (
            "config.json names action tokens, which are made in one parallel step that is not supported: only the text "
            "is shown"
        )
    if config.has("auto_map"):
        notes["auto_map"] = "the checkpoint brings code along; it is never run"
    return notes
