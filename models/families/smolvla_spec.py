"""What the files of a SmolVLA policy say. Imports neither torch nor transformers."""

from __future__ import annotations

from models.checkpoint import number_type
from models.checkpoint_files import CheckpointFiles
from models.families.chunk_noise import NOISE_NOTE
from models.families.lerobot_folder import ACTION, STATE, LerobotFolder
from models.families.lerobot_folder import UNUSED as STATISTICS
from models.families.smolvla_config import NEW_LINE, Backbone, ExpertPlan, SmolVLAConfig
from models.types import CheckpointSpec

UNUSED = {**STATISTICS, "model.*vlm_with_expert.vlm.lm_head.weight": "the policy writes no words"}


def inspect_smolvla(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged files, settings that make no sense, or a backbone of which there is no copy."""
    folder = LerobotFolder.read(files, known_steps=(NEW_LINE,))
    config = SmolVLAConfig.read(folder)
    backbone = Backbone.find(files, config)
    plan = ExpertPlan.of(config, backbone.layers)
    height, width = config.image_size or (0, 0)
    if config.image_size is not None:
        backbone.check_image(height, width)
    weights = files.tensors()
    only = next(iter(folder.scalings)) if len(folder.scalings) == 1 else None
    cameras = tuple(folder.cameras)
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=files.folder.resolve().name,
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=backbone.layers,
        heads=backbone.heads,
        vision_layers=backbone.vision_layers,
        vision_heads=backbone.vision_heads,
        patch_grid=(height // backbone.pixels, width // backbone.pixels),
        image_size=(height, width),
        cameras=cameras if len(cameras) > 1 else (),
        action_space=folder.action_space(only, config.chunk),
        action_stats=tuple(folder.scalings),
        state_names=tuple(f"state {index}" for index in range(folder.state_size)),
        expert_layers=len(plan.projects_prefix),
        expert_heads=backbone.heads,
        denoising_steps=config.denoising_steps,
        unused=UNUSED,
        notes=_notes(folder, config, backbone),
    )


def _notes(folder: LerobotFolder, config: SmolVLAConfig, backbone: Backbone) -> dict[str, str]:
    notes = {
        "backbone": f"{config.backbone}, read from {backbone.files.model}",
        "noise": NOISE_NOTE,
        "n_action_steps": f"LeRobot executes {config.executed} of {config.chunk} steps before it predicts again",
    }
    if not folder.scalings:
        notes["action_stats"] = "no statistics are stored: states and actions are in the policy's normalised units"
        if folder.stray_statistics:
            names = ", ".join(folder.stray_statistics)
            notes["action_stats"] += f"; LeRobot does not use those that are stored as {names}"
    elif raw := [name for name in (STATE, ACTION) if any(folder.unscaled(name, each) for each in folder.scalings)]:
        notes["action_stats"] = f"no statistics are stored for {' and '.join(raw)}, which is left in normalised units"
    elif len(folder.scalings) > 1:
        notes["action_stats"] = "several data sets: name one to get actions in robot units"
    if len(folder.cameras) > 1:
        notes["cameras"] = "a camera that an observation lacks is left out, as LeRobot does; one must be there"
    if config.max_tokens is not None:
        notes["instruction"] = f"cut after {config.max_tokens} tokens, as LeRobot does"
    return notes
