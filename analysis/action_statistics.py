"""Histograms and quantiles of a data set's actions, over all of its episodes or a stated sample of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.atomic_file import replaced
from analysis.catalogue import EpisodeIndex, Filter
from analysis.catalogue.index import LARGEST_PAGE
from analysis.episodes import BrokenEpisode, OpenedSource
from analysis.types import EpisodeMeta
from models.errors import UserError

SAMPLE = 200  # episodes, evenly spread over the list
BINS = 40
KEPT_STEPS = 2_000_000  # of which quantiles and histograms are made; of more, every second one is kept, and so on
SKIPPED_KEPT = 50
VERSION = 1  # of the cached files


@dataclass(frozen=True)
class Dimension:
    """One dimension of an action. Values in robot units, as recorded; those that are not finite are left out."""

    name: str
    unit: str
    low: float  # smallest value, where the first bin begins
    high: float  # largest value, where the last bin ends
    counts: tuple[int, ...]  # steps in each of BINS bins of equal width
    q01: float
    q99: float
    mean: float
    std: float
    not_finite: int


@dataclass(frozen=True)
class ActionStatistics:
    """Of all episodes that were read and whose actions have these names."""

    dimensions: tuple[Dimension, ...]
    episodes: int  # read
    steps: int  # of them
    kept: int  # of these steps, what the numbers are made of


@dataclass(frozen=True)
class DatasetActions:
    """One `ActionStatistics` for each kind of action that a data set has, the most frequent first."""

    groups: tuple[ActionStatistics, ...]
    read: int  # episodes
    usable: int  # episodes that the data set has
    skipped: tuple[BrokenEpisode, ...]  # those that could not be read after all; at most SKIPPED_KEPT


def dataset_actions(
    index: EpisodeIndex,
    dataset: str,
    source: OpenedSource,
    sample: int | None = SAMPLE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetActions:
    """Reads the actions of ``sample`` episodes of a data set, or of all; ``progress`` may raise to end it."""
    usable, chosen = _chosen(index, dataset, sample)
    rows: dict[tuple[tuple[str, ...], tuple[str, ...], int], _Rows] = {}
    skipped: list[BrokenEpisode] = []
    for number, id in enumerate(chosen):
        progress(number, len(chosen))
        try:
            episode = source.open(id)
        except UserError as error:
            skipped.append(BrokenEpisode(id, str(error)))
            continue
        meta, actions = episode.meta, episode.actions
        rows.setdefault((meta.action_names, meta.action_units, actions.shape[1]), _Rows()).add(actions)
    progress(len(chosen), len(chosen))
    groups = [_statistics(names, units, found) for (names, units, _), found in rows.items()]
    groups.sort(key=lambda group: -group.episodes)
    return DatasetActions(tuple(groups), len(chosen) - len(skipped), usable, tuple(skipped[:SKIPPED_KEPT]))


class _Rows:
    """Actions of many episodes, in bounded memory."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.episodes = self.steps = self.kept = 0
        self.stride = 1

    def add(self, actions: Float[np.ndarray, "T D"]) -> None:
        self.episodes += 1
        part = np.asarray(actions[(-self.steps) % self.stride :: self.stride], np.float32)
        self.steps += len(actions)
        self.parts.append(part)
        self.kept += len(part)
        if self.kept > KEPT_STEPS:
            joined = np.concatenate(self.parts)[::2]
            self.parts, self.kept, self.stride = [joined], len(joined), self.stride * 2


def _statistics(names: tuple[str, ...], units: tuple[str, ...], found: _Rows) -> ActionStatistics:
    values = np.concatenate(found.parts).astype(np.float64)
    width = values.shape[1]
    named = names if len(names) == width else tuple(f"action {k}" for k in range(width))
    measured = units if len(units) == width else ("",) * width
    dimensions = tuple(
        _dimension(name, unit, column) for name, unit, column in zip(named, measured, values.T, strict=True)
    )
    return ActionStatistics(dimensions, found.episodes, found.steps, len(values))


def _dimension(name: str, unit: str, column: np.ndarray) -> Dimension:
    finite = column[np.isfinite(column)]
    missing = len(column) - len(finite)
    if not len(finite):
        return Dimension(name, unit, 0.0, 0.0, (0,) * BINS, 0.0, 0.0, 0.0, 0.0, missing)
    low, high = float(finite.min()), float(finite.max())
    counts, _ = np.histogram(finite, BINS, (low, high if high > low else low + 1.0))
    q01, q99 = (float(value) for value in np.quantile(finite, (0.01, 0.99)))
    return Dimension(
        name, unit, low, high, tuple(counts.tolist()), q01, q99, float(finite.mean()), float(finite.std()), missing
    )


def _chosen(index: EpisodeIndex, dataset: str, sample: int | None) -> tuple[int, list[str]]:
    """How many usable episodes there are, and the ids of those to read, evenly spread."""
    ids: list[str] = []
    filter = Filter(datasets=(dataset,), broken=False)
    total = index.query(filter, size=0).total
    wanted = set(range(total)) if sample is None or total <= sample else {total * k // sample for k in range(sample)}
    for page in range(-(-total // LARGEST_PAGE)):
        entries = index.query(filter, page=page, size=LARGEST_PAGE).entries
        ids += [
            one.entry.id
            for place, one in enumerate(entries, page * LARGEST_PAGE)
            if place in wanted and isinstance(one.entry, EpisodeMeta)
        ]
    return total, ids


@dataclass(frozen=True)
class StoredActions:
    """Statistics kept in a folder, a file for each data set and size of sample."""

    folder: Path

    def read(self, dataset: str, stamp: str, sample: int | None) -> DatasetActions | None:
        """What was kept of the data set as it is now (``stamp`` as in its index); None where there is nothing."""
        try:
            stored = json.loads(self._path(dataset, sample).read_text(encoding="utf-8"))
            if (stored["version"], stored["stamp"]) != (VERSION, stamp):
                return None
            return _from_json(stored["actions"])
        except (OSError, ValueError, TypeError, KeyError):  # absent, or not written here: made again
            return None

    def write(self, dataset: str, stamp: str, sample: int | None, actions: DatasetActions) -> None:
        """Raises UserError where that cannot be done."""
        path = self._path(dataset, sample)
        try:
            with replaced(path) as part:
                part.write_text(json.dumps({"version": VERSION, "stamp": stamp, "actions": asdict(actions)}))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None

    def _path(self, dataset: str, sample: int | None) -> Path:
        name = sha256(f"{dataset}\0{sample}".encode("utf-8", "replace")).hexdigest()[:16]
        return self.folder / f"{name}.json"


def _from_json(stored: dict[str, Any]) -> DatasetActions:
    groups = tuple(
        ActionStatistics(
            tuple(Dimension(**{**one, "counts": tuple(one["counts"])}) for one in group["dimensions"]),
            group["episodes"],
            group["steps"],
            group["kept"],
        )
        for group in stored["groups"]
    )
    skipped = tuple(BrokenEpisode(**one) for one in stored["skipped"])
    return DatasetActions(groups, stored["read"], stored["usable"], skipped)
