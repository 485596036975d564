"""What the files of a PaliGemma checkpoint say. Imports neither torch nor transformers."""

from __future__ import annotations

from models.checkpoint import number_type
from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.families.action_token_config import ActionTokenConfig
from models.types import CheckpointSpec

# transformers leaves values out of config.json that equal its own defaults
TEXT_DEFAULTS = {"gemma": {"layers": 28, "heads": 16}, "gemma2": {"layers": 26, "heads": 8}}
VISION_DEFAULTS = {"layers": 12, "heads": 12, "image": 224, "patch": 16}


def inspect_paligemma(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights or a configuration that makes no sense."""
    config = files.config()
    text, vision = config.section("text_config"), config.section("vision_config")
    defaults = TEXT_DEFAULTS.get(text.text("model_type", default="gemma"), TEXT_DEFAULTS["gemma"])
    image = vision.integer("image_size", default=VISION_DEFAULTS["image"])
    patches = image // vision.integer("patch_size", default=VISION_DEFAULTS["patch"])
    weights = files.tensors()
    robot = ActionTokenConfig.read(config)
    only = robot.scale(None) if robot is not None and len(robot.scales) == 1 else None
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=robot.name if robot is not None else files.folder.resolve().name,
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=text.integer("num_hidden_layers", default=defaults["layers"]),
        heads=text.integer("num_attention_heads", default=defaults["heads"]),
        vision_layers=vision.integer("num_hidden_layers", default=VISION_DEFAULTS["layers"]),
        vision_heads=vision.integer("num_attention_heads", default=VISION_DEFAULTS["heads"]),
        patch_grid=(patches, patches),
        image_size=(image, image),
        cameras=(),
        action_space=robot.action_space(only) if robot is not None else None,
        action_stats=tuple(robot.scales) if robot is not None else (),
        state_names=robot.state.names if robot is not None and robot.state is not None else (),
        generates_rationale=robot is not None and robot.rationale is not None,
        notes=_notes(config, robot),
    )


def _notes(config: ConfigSection, robot: ActionTokenConfig | None) -> dict[str, str]:
    notes: dict[str, str] = {}
    if robot is None:
        notes["actions"] = "no section vla in config.json: a vision-language model without actions"
    elif robot.fps is not None:
        notes["fps"] = f"{robot.fps:g}"
    if robot is not None and len(robot.scales) > 1:
        notes["action_stats"] = "several data sets: name one to get actions in robot units"
    if config.has("auto_map"):
        notes["auto_map"] = "the checkpoint brings code along; it is never run"
    return notes
