"""What is selected in the side bar: a frozen value that the URL carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from urllib.parse import quote, unquote

from analysis.checkpoint_facts import counted
from analysis.types import EpisodeMeta
from models.types import CheckpointSpec


@dataclass(frozen=True)
class Selection:
    """Names and ids as they stand in the URL; None where there is nothing to choose from."""

    dataset: str | None = None
    episode: str | None = None  # EpisodeMeta.id
    checkpoint: str | None = None  # digest
    other: str | None = None  # digest of the checkpoint that is compared with the first
    action_stats: str | None = None  # data set whose statistics un-normalise actions; None where there is no choice
    other_stats: str | None = None  # the same for ``other``
    family: str | None = None  # as which the checkpoint is read; None: as its files suggest
    other_family: str | None = None
    cameras: str | None = None  # that the policy sees, as `camera_text` writes them; None: as they fit by name
    other_cameras: str | None = None

    def parameters(self) -> dict[str, str]:
        """The URL parameters that bring this selection back."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def from_parameters(parameters: Mapping[str, str]) -> Selection:
    """The selection that a URL asks for; whether its ids exist is for `chosen` to say."""
    return Selection(*(parameters.get(entry.name) or None for entry in fields(Selection)))


def camera_text(cameras: Sequence[str]) -> str:
    """Names of cameras as one URL parameter; a name may hold any sign."""
    return ",".join(quote(camera, safe="") for camera in cameras)


def camera_names(text: str | None) -> tuple[str, ...] | None:
    """The names that `camera_text` wrote."""
    return tuple(unquote(camera) for camera in text.split(",")) if text else None


def chosen(wanted: str | None, offered: Sequence[str], default: int | None = 0) -> tuple[str | None, bool]:
    """The wanted entry if it is offered, else entry ``default`` (None: no entry); and whether a wish stayed unmet."""
    if wanted in offered:
        return wanted, False
    fallback = offered[min(default, len(offered) - 1)] if offered and default is not None else None
    return fallback, wanted is not None


def episode_label(meta: EpisodeMeta) -> str:
    """One line for the list of episodes: everything a person searches by."""
    outcome = {True: "✓", False: "✗", None: "·"}[meta.success]
    instruction = " ".join(meta.instruction.split())
    short = instruction if len(instruction) <= 70 else instruction[:69] + "…"
    return f"{outcome} {short or '(no instruction)'} · {meta.length} steps · {meta.id}"


def checkpoint_label(spec: CheckpointSpec, all_specs: Sequence[CheckpointSpec]) -> str:
    """The checkpoint's name, with its digest where two share a name."""
    twins = sum(other.name == spec.name for other in all_specs) > 1
    return f"{spec.name} · {spec.digest[:6]}" if twins else spec.name


def checkpoint_line(spec: CheckpointSpec) -> str:
    """What was recognised, in one line."""
    rows, columns = spec.patch_grid
    cameras = f" of each of {len(spec.cameras)} cameras" if len(spec.cameras) > 1 else ""
    parts = [
        f"{counted(spec.parameters)} parameters",
        f"{spec.layers} layers × {spec.heads} heads",
        f"{rows} × {columns} patches{cameras}" if rows else "patches depend on the image",
    ]
    space = spec.action_space
    if space is not None:
        kind = f"{space.bins} bins" if space.bins else "continuous"
        chunk = f" × {space.chunk} steps" if space.chunk > 1 else ""
        parts.append(f"{f'{len(space.names)}-D ' if space.names else ''}actions{chunk}, {kind}")
    writes = "writes a rationale" if spec.generates_rationale else "actions only"
    parts.append(writes if space is not None else "describes, no actions")
    return " · ".join(parts)
