"""What the files of an OpenVLA or ECoT checkpoint say. Imports neither torch nor transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from models.checkpoint import TensorInfo, number_type
from models.checkpoint_files import CheckpointFiles
from models.families.openvla_actions import action_space, choose, dimensions, unchosen_action_space
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_heads import describe_heads
from models.types import CheckpointSpec


def inspect_openvla(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights or a configuration that makes no sense."""
    config = OpenVLAConfig.read(files, family)
    weights = files.tensors()
    statistics = config.statistics
    space = (
        action_space(config.actions, choose(statistics, None))
        if len(statistics) == 1
        else unchosen_action_space(config.actions, statistics)
    )
    first = config.towers[0]
    return CheckpointSpec(
        path=str(files.folder),
        family=family,
        name=files.title(),
        digest=digest,
        parameters=sum(info.size for info in weights.values()),
        dtype=number_type(weights),
        layers=config.layers,
        heads=config.heads,
        vision_layers=first.used,
        vision_heads=first.heads,
        patch_grid=first.grid,
        image_size=(first.image, first.image),
        cameras=(),
        action_space=space,
        action_stats=tuple(statistics),
        unused=_found(config.unused, weights),
        notes=_notes(files, config),
    )


def _found(unused: Mapping[str, str], weights: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Those patterns that stand for a stored tensor."""
    patterns = {name: re.compile(re.escape(name).replace(r"\*", ".*")) for name in unused}
    return {name: why for name, why in unused.items() if any(patterns[name].fullmatch(each) for each in weights)}


def _notes(files: CheckpointFiles, config: OpenVLAConfig) -> dict[str, str]:
    notes = {
        "family": "taken for a plain OpenVLA; one that writes embodied chain-of-thought has the same files: open it "
        'with family="ecot"',
        "prompt": config.prompt_reason,
        "vision": "; ".join(
            f"{stream}: {tower.model_id}, {tower.used} of {tower.blocks} blocks, {tower.heads} heads, "
            f"{tower.patches} patches"
            for stream, tower in zip(config.streams, config.towers, strict=True)
        ),
    }
    if len(config.statistics) > 1:
        counts = {key: dimensions(section) for key, section in config.statistics.items()}
        values = "" if len(set(counts.values())) == 1 else ": " + ", ".join(f"{key} {n}-D" for key, n in counts.items())
        notes["action_stats"] = f"several data sets: name one to get actions in robot units{values}"
    if heads := describe_heads(files):
        notes["heads"] = heads
    if files.config().has("auto_map"):
        notes["auto_map"] = "the checkpoint brings code along; it is never run"
    return notes
