"""What the files of an OpenVLA-OFT checkpoint tell a person. Imports neither torch nor transformers."""

from __future__ import annotations

from dataclasses import replace

from models.checkpoint_files import CheckpointFiles
from models.families.openvla_oft_config import OftConfig
from models.families.openvla_oft_scaling import assumed, platform
from models.families.openvla_spec import inspect_openvla
from models.types import CheckpointSpec

SILENT = "language_model.lm_head.weight"
UNUSED = {SILENT: "actions come from the action head; no words are written"}


def inspect_openvla_oft(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights, parts that are not supported, or a configuration that makes no sense."""
    config = OftConfig.read(files, family)
    spec = inspect_openvla(files, family, digest)
    keys = tuple(config.statistics)
    state = config.projector.state if config.projector else 0
    parts = [part.size for part in (config.head, config.projector) if part is not None]
    notes = {name: text for name, text in spec.notes.items() if name not in ("heads", "family", "action_stats")}
    return replace(
        spec,
        parameters=spec.parameters + sum(parts),
        every_camera=True,
        action_stats=keys,
        action_space=config.action_space(keys[0] if len(keys) == 1 else None),
        state_names=tuple(f"state {number}" for number in range(state)),
        unused=dict(spec.unused) | UNUSED,
        notes={"family": _family(config), **notes, **_notes(config)},
    )


def _family(config: OftConfig) -> str:
    projector = f", proprioception through {config.projector.file.name}" if config.projector else ""
    return f"OpenVLA-OFT, as there is {config.head.file.name}{projector}"


def _notes(config: OftConfig) -> dict[str, str]:
    chunks = []
    for key in config.statistics:
        known = platform(key)
        reason = f"as on {known.word.upper()}" if known else "an assumption: the key names no platform of the original"
        low, high = assumed(key).limits
        chunks.append(f"{key}: {assumed(key).chunk} steps scaled by {low} and {high}, {reason}")
    several = {"action_stats": "several data sets: name one to get actions in robot units"} if len(chunks) > 1 else {}
    return several | {
        "chunk": f"its length stands in no file; {'; '.join(chunks)}",
        "images": "as many as the observation has, in its order; how many the checkpoint was trained on stands in no "
        "file. The original's evaluation also cuts the outer tenth of their area away; here the whole image is seen",
    }
