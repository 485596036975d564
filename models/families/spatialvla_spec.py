"""What the files of a SpatialVLA checkpoint say. Imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from models.checkpoint import number_type
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.spatialvla_settings import DEFAULT_CAMERA, SpatialVLASettings
from models.types import CheckpointSpec

# transformers leaves values out of config.json that equal its own defaults: those of Gemma 2 and of SigLIP
LAYERS, HEADS = 26, 8
VISION_LAYERS, VISION_HEADS, IMAGE, PATCH = 12, 12, 224, 16
WITH_RATIONALE = "refinevla"  # the family whose checkpoints write words; nothing in published files tells


def inspect_spatialvla(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights or a configuration that makes no sense."""
    config = files.config()
    settings = SpatialVLASettings.read(files)
    text, vision = config.section("text_config"), config.section("vision_config")
    image = vision.integer("image_size", default=IMAGE)
    patch = vision.integer("patch_size", default=PATCH)
    if settings.use_depth and patch % settings.reso:
        raise UserError(f"{config.where} ego3d_patch_reso is {settings.reso}, which does not divide patches of {patch}")
    weights = files.tensors()
    only = next(iter(settings.scales)) if len(settings.scales) == 1 else None
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=files.title(),
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=text.integer("num_hidden_layers", default=LAYERS),
        heads=text.integer("num_attention_heads", default=HEADS),
        vision_layers=vision.integer("num_hidden_layers", default=VISION_LAYERS),
        vision_heads=vision.integer("num_attention_heads", default=VISION_HEADS),
        patch_grid=(image // patch, image // patch),
        image_size=(image, image),
        cameras=(),
        action_space=settings.action_space(only),
        action_stats=tuple(settings.scales),
        generates_rationale=family == WITH_RATIONALE,
        unused={pattern: why for pattern, why in settings.unused.items() if _any(weights, pattern)},
        notes=_notes(config, settings, family),
    )


def _notes(config: ConfigSection, settings: SpatialVLASettings, family: str) -> dict[str, str]:
    notes = {"chunk": f"{settings.chunk} steps of 3 tokens each: translation, rotation, gripper"}
    if settings.use_depth:
        own = [key for key in settings.intrinsics if key != DEFAULT_CAMERA]
        notes["depth"] = (
            f"estimated with ZoeDepth; camera intrinsics of {', '.join(own) or 'no data set but the default'}"
        )
    else:
        notes["depth"] = "none: use_vision_zoe is false"
    if settings.rationale is not None:
        notes["words"] = (
            f"up to {settings.rationale.max_tokens} tokens, {settings.rationale.order}: config.json says so"
        )
    elif family != WITH_RATIONALE:
        notes["words"] = f"none after the actions; a checkpoint that writes some opens as family {WITH_RATIONALE}"
    if len(settings.scales) > 1:
        notes["action_stats"] = "several data sets: name one to get actions in robot units"
    if config.has("auto_map"):
        notes["auto_map"] = "the checkpoint brings code along; it is never run"
    return notes


def _any(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
