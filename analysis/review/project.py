"""What a review project is: which rationales, how they are judged, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from analysis.review.judgement import LabelScheme, PartLabels
from analysis.review.names import checked_name
from models.errors import UserError

RANDOM, DISAGREEMENT, GROUNDING, SURPRISE = ORDERS = ("random", "disagreement", "grounding", "surprise")
USUAL_LABELS = LabelScheme()
MAX_OVERLAP = 100  # annotators to an item


@dataclass(frozen=True)
class Selection:
    """Which rationales a project holds. Empty: all of that kind."""

    datasets: tuple[str, ...] = ()  # names in the workspace
    episodes: tuple[str, ...] = ()  # ids
    authors: tuple[str, ...] = ()  # teacher's name or checkpoint's digest, as in `Rationale.author`
    records: tuple[str, ...] = ()  # addresses of runs of a policy whose rationales are taken; see `from_records`
    from_data: bool = True  # rationales that come with the episodes
    from_records: bool = False  # rationales that policies wrote; of all runs unless ``records`` names some
    every: int = 1  # of a run, each how many steps one is taken
    sample: int | None = None  # how many are drawn; None: all
    seed: int = 0  # of the sample, and of the order where it is random


@dataclass(frozen=True)
class ProjectSettings:
    """What a lead can change later."""

    name: str
    guidelines: str = ""  # Markdown
    labels: LabelScheme = USUAL_LABELS
    overlap: int = 1  # annotators to an item
    gold_overlap: int | None = None  # annotators to a gold item, where more; None: as the others
    gold_every: int | None = None  # an annotator gets a gold item after each so many reviews; None: when it comes
    blind: bool = True  # annotators do not see each other's reviews
    order: str = RANDOM
    annotators: tuple[str, ...] = ()  # who may take items; empty: anyone
    lease_seconds: float = 900.0  # how long an item is kept for who has taken it
    closed: bool = False  # no more items are handed out, and no review is taken

    def checked(self) -> ProjectSettings:
        """Itself. Raises UserError for a setting that cannot be."""
        checked_name(self.name, "a project's name")
        for annotator in self.annotators:
            checked_name(annotator, "an annotator's name")
        if not 1 <= self.overlap <= MAX_OVERLAP:
            raise UserError(f"the overlap is {self.overlap}; expected 1 to {MAX_OVERLAP} annotators to an item")
        if self.gold_overlap is not None and not self.overlap <= self.gold_overlap <= MAX_OVERLAP:
            raise UserError(
                f"the overlap of gold items is {self.gold_overlap}; expected {self.overlap} to {MAX_OVERLAP}"
            )
        if self.gold_every is not None and self.gold_every < 1:
            raise UserError(f"a gold item after each {self.gold_every} reviews was asked for; expected 1 or more")
        if self.order not in ORDERS:
            raise UserError(f"the order is {self.order!r}; expected one of {', '.join(ORDERS)}")
        if not 1 <= self.lease_seconds <= 30 * 86400:
            raise UserError(f"a lease of {self.lease_seconds} seconds was asked for; expected 1 second to 30 days")
        for labels in (self.labels.default, *self.labels.parts.values()):
            if not labels.verdicts or len(set(labels.verdicts)) != len(labels.verdicts):
                raise UserError(f"the verdicts {labels.verdicts} are empty or repeat; a part needs different ones")
        return self

    def overlap_of(self, gold: bool) -> int:
        return self.gold_overlap if gold and self.gold_overlap is not None else self.overlap


@dataclass(frozen=True)
class Project:
    """A project as it stands; each change is a new version, and none is lost."""

    id: str
    version: int  # from 1
    settings: ProjectSettings
    selection: Selection
    created: datetime  # UTC
    created_by: str
    changed: datetime  # UTC; when this version was made
    changed_by: str


@dataclass(frozen=True)
class ProjectChange:
    """One version in a project's history."""

    version: int
    settings: ProjectSettings
    author: str
    time: datetime  # UTC
    tool: str = field(default="", kw_only=True)


def settings_to_json(settings: ProjectSettings) -> dict[str, Any]:
    return asdict(settings)


def settings_from_json(stored: Mapping[str, Any]) -> ProjectSettings:
    """The inverse, and for a file by hand: what is left out is as usual. Raises UserError for what it does not know."""
    try:
        scheme = stored.get("labels", {})
        labels = LabelScheme(
            _part_labels(scheme.get("default", {})),
            {part: _part_labels(one) for part, one in scheme.get("parts", {}).items()},
        )
        rest = dict(stored) | {"labels": labels, "annotators": tuple(stored.get("annotators", ()))}
        return ProjectSettings(**rest).checked()
    except (TypeError, AttributeError) as error:
        raise UserError(f"a project's settings cannot be used: {error}") from None


def _part_labels(stored: Mapping[str, Any]) -> PartLabels:
    return PartLabels(**{key: tuple(values) for key, values in stored.items()})


def selection_from_json(stored: Mapping[str, Any]) -> Selection:
    """The inverse of ``dataclasses.asdict``. Raises UserError for keys it does not know."""
    try:
        lists = ("datasets", "episodes", "authors", "records")
        given: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in stored.items()}
        return Selection(**given)
    except TypeError as error:
        raise UserError(f"a selection of rationales cannot be used: {error}") from None
