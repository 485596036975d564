"""What the files of a π0 policy say, in the terms of every policy. Imports neither torch nor transformers."""

from __future__ import annotations

from models.checkpoint import number_type
from models.checkpoint_files import CheckpointFiles
from models.families.chunk_noise import NOISE_NOTE
from models.families.lerobot_folder import LerobotFolder
from models.families.pi0_config import PI0Config, lerobot_folder, tokenizer_folder
from models.families.pi0_places import unused
from models.families.pi0_robot import Robot
from models.types import CheckpointSpec


def inspect_pi0(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged files, or settings and tensors that do not fit each other."""
    folder = lerobot_folder(files)
    config = PI0Config.read(files, folder)
    robot = Robot.read(files, folder, config)
    scalings, cameras = robot.folder.scalings, tuple(robot.folder.cameras)
    weights = files.tensors()
    vision = config.sizes.vision
    side = vision.image // vision.patch
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=files.folder.resolve().name,
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=config.sizes.language.layers,
        heads=config.sizes.language.heads,
        vision_layers=vision.layers,
        vision_heads=vision.heads,
        patch_grid=(side, side),
        image_size=(vision.image, vision.image),
        cameras=cameras if len(cameras) > 1 else (),
        every_camera=folder is None,
        action_space=robot.action_space(next(iter(scalings)) if len(scalings) == 1 else None),
        action_stats=tuple(scalings),
        state_names=robot.state_names,
        expert_layers=config.sizes.expert.layers,
        expert_heads=config.sizes.expert.heads,
        denoising_steps=config.denoising_steps,
        unused=unused(weights),
        notes=_notes(files, folder, config, robot),
    )


def _notes(files: CheckpointFiles, folder: LerobotFolder | None, config: PI0Config, robot: Robot) -> dict[str, str]:
    source = tokenizer_folder(files, config.tokenizer)
    notes = {
        "noise": NOISE_NOTE,
        "tokenizer": f"{config.tokenizer}, {f'read from {source}' if source else 'of which no copy was found'}",
    }
    if not robot.folder.scalings:
        notes["action_stats"] = "no statistics are stored: states and actions are in the policy's normalised units"
    elif len(robot.folder.scalings) > 1:
        notes["action_stats"] = "several data sets: name one to get actions in robot units"
    if folder is None:
        notes["cameras"] = "one image or more, read in the observation's order; the files name no cameras"
    else:
        notes["n_action_steps"] = f"LeRobot executes {config.executed} of {config.chunk} steps before it predicts again"
    if len(robot.folder.cameras) > 1:
        notes["cameras"] = (
            "a camera that an observation lacks is left out, which equals LeRobot's mask; one must be there"
        )
    if robot.relative is not None:
        notes["relative_actions"] = "predicted relative to the state, given as absolute values"
    if config.max_tokens is not None:
        notes["instruction"] = f"cut after {config.max_tokens} tokens, as LeRobot does"
    if config.heads_assumed:
        notes["vision_heads"] = f"{config.sizes.vision.heads}, the published tower's: no file tells"
    return notes
