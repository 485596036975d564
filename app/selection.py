"""What is selected in the side bar: a frozen value that the URL carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

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

    def parameters(self) -> dict[str, str]:
        """The URL parameters that bring this selection back."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def from_parameters(parameters: Mapping[str, str]) -> Selection:
    """The selection that a URL asks for; whether its ids exist is for `chosen` to say."""
    return Selection(*(parameters.get(entry.name) or None for entry in fields(Selection)))


def chosen(wanted: str | None, offered: Sequence[str], default: int = 0) -> tuple[str | None, bool]:
    """The wanted entry if it is offered, else entry ``default``; and whether a wish could not be fulfilled."""
    if wanted in offered:
        return wanted, False
    fallback = offered[min(default, len(offered) - 1)] if offered else None
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


def checkpoint_facts(spec: CheckpointSpec) -> str:
    """What was recognised, in one line."""
    rows, columns = spec.patch_grid
    parts = [
        f"{spec.parameters / 1e6:.1f} M parameters"
        if spec.parameters < 1e9
        else f"{spec.parameters / 1e9:.2f} B parameters",
        f"{spec.layers} layers × {spec.heads} heads",
        f"{rows} × {columns} patches",
    ]
    if spec.action_space is not None:
        bins = f", {spec.action_space.bins} bins" if spec.action_space.bins else ""
        parts.append(f"{len(spec.action_space.names)}-D actions{bins}")
    parts.append("writes a rationale" if spec.generates_rationale else "actions only")
    return " · ".join(parts)
