"""Where the numbers of a chart or table come from: what a caption says, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analysis import __version__
from analysis.records import Setting
from analysis.types import EpisodeMeta
from models.types import CheckpointSpec

TOOL = f"VLA Lens {__version__}"
LISTED = 4  # records or episodes that a caption names; `Provenance.facts` names all


@dataclass(frozen=True)
class Model:
    """A checkpoint that a chart is about."""

    name: str
    digest: str
    record: str = ""  # address

    @property
    def words(self) -> str:
        """Name, digest and record."""
        return f"Model {self.name} (digest {self.digest}{f', record {self.record}' if self.record else ''})"

    @classmethod
    def of(cls, spec: CheckpointSpec) -> Model:
        return cls(spec.name, spec.digest)


@dataclass(frozen=True)
class Provenance:
    title: str  # what is shown
    data: str  # data set, episode with its digest, step
    method: str = ""
    samples: str = ""  # how many of what: "24 episodes, 48 steps"
    models: tuple[Model, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    episodes: tuple[str, ...] = ()  # digests, where there are several
    records: tuple[str, ...] = ()  # addresses, where there are several
    notes: tuple[str, ...] = ()  # what else a person should read with it

    @property
    def caption(self) -> tuple[str, ...]:
        """Paragraphs; the first one is the title."""
        lines = [self.title, *(one.words for one in self.models)]
        lines.append(self.data + (f" (digests {_first(self.episodes)})" if self.episodes else ""))
        lines.append(f"Method: {self.method}" if self.method else "")
        lines.append(f"n: {self.samples}" if self.samples else "")
        settings = "; ".join(f"{name}: {_text(value)}" for name, value in self.settings.items())
        lines.append(f"Settings: {settings}" if settings else "")
        lines.append(f"Records {_first(self.records)}" if self.records else "")
        return (*(line for line in (*lines, *self.notes) if line), TOOL)

    @property
    def facts(self) -> dict[str, object]:
        """JSON values."""
        return {
            "title": self.title,
            "models": [vars(one) for one in self.models],
            "data": self.data,
            "method": self.method,
            "samples": self.samples,
            "settings": dict(self.settings),
            "episodes": list(self.episodes),
            "records": list(self.records),
            "notes": list(self.notes),
            "tool": TOOL,
        }


def episode_words(meta: EpisodeMeta, steps: Sequence[int]) -> str:
    """Which episode and steps."""
    said = f"step {steps[0]}" if len(steps) == 1 else f"{len(steps)} steps from {steps[0]} to {steps[-1]}"
    return f"Episode {meta.id} (digest {meta.digest}), {said} of 0–{meta.length - 1}: “{meta.instruction}”"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _text(value: Setting) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(own)}" for name, own in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)
