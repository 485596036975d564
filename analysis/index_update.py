"""Brings a workspace's index of episodes up to date: data sets that changed are scanned, annotations are indexed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import __version__
from analysis.catalogue import EpisodeIndex, files_stamp
from analysis.episodes import BrokenEpisode
from analysis.episodes.file_bytes import Unreachable
from analysis.episodes.source import place_of
from analysis.joined_source import Annotations, JoinedSource
from models.errors import UserError

UNREACHED = "never answered"  # stamp of a remote data set


@dataclass(frozen=True)
class IndexProgress:
    """What is being read."""

    what: str  # name of a data set, or of a file of annotations
    done: int  # episodes, or bytes
    total: int | None = None  # bytes of a file of annotations; how many episodes there are is not known


Progress = Callable[[IndexProgress], None]


@dataclass(frozen=True)
class IndexUpdate:
    complete: bool  # False: it was cancelled
    changed: tuple[str, ...]  # data sets that were scanned
    problems: tuple[BrokenEpisode, ...]  # annotations that cannot be used, remote data sets that do not answer


@dataclass(frozen=True)
class IndexedDataset:
    """A data set as it is to be indexed."""

    name: str
    path: Path
    open: Callable[[], JoinedSource]  # raises UserError where there is nothing to open
    beside: tuple[Path, ...]  # files and folders that what is listed depends on beside the data set itself


@dataclass(frozen=True)
class NoEpisodes:
    """Stands in for a data set that cannot be opened."""

    root: Path
    reason: str

    def scan(self) -> Sequence[BrokenEpisode]:
        return (BrokenEpisode(place_of(self.root), self.reason),)


def update_index(
    index: EpisodeIndex,
    datasets: Sequence[IndexedDataset],
    annotations: Sequence[Annotations],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> IndexUpdate:
    """Scans what changed since the last time. What is new is listed before annotations are read, and again after."""
    index.keep([dataset.name for dataset in datasets])
    changed, silent = _scan_changed(index, datasets, annotations, progress, cancelled)
    problems = _annotate(annotations, progress, cancelled)
    if annotations:
        again, silent = _scan_changed(index, datasets, annotations, progress, cancelled)
        changed += again
    return IndexUpdate(not cancelled(), tuple(dict.fromkeys(changed)), (*problems, *silent))


def _scan_changed(
    index: EpisodeIndex,
    datasets: Sequence[IndexedDataset],
    annotations: Sequence[Annotations],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> tuple[list[str], list[BrokenEpisode]]:
    """Names of the data sets that were scanned, and those that do not answer: of them the index keeps what it knows."""
    known, scanned, silent = index.states(), [], []
    for dataset in datasets:
        state = known.get(dataset.name)
        try:
            stamp = _stamp(dataset, annotations)
            if cancelled() or (state is not None and state.complete and state.stamp == stamp):
                continue
            progress(IndexProgress(dataset.name, 0))
            index.update(dataset.name, _opened(dataset), stamp, _telling(progress, dataset.name), cancelled)
            scanned.append(dataset.name)
        except Unreachable as error:
            silent.append(BrokenEpisode(place_of(dataset.path), str(error)))
            if state is None:
                index.update(dataset.name, NoEpisodes(dataset.path, str(error)), UNREACHED)
    return scanned, silent


def _opened(dataset: IndexedDataset) -> JoinedSource | NoEpisodes:
    try:
        return dataset.open()
    except Unreachable:
        raise
    except UserError as error:
        return NoEpisodes(dataset.path, str(error))


def _stamp(dataset: IndexedDataset, annotations: Sequence[Annotations]) -> str:
    """Changes with everything that the list of a data set's episodes depends on."""
    ready = [f"{entry.path}={entry.ready() is not None}" for entry in annotations]
    paths = (dataset.path, *dataset.beside, *(entry.path for entry in annotations))
    try:
        files = files_stamp(*paths)
    except Unreachable:
        raise
    except UserError as error:  # a remote address at which there is nothing
        files = str(error)
    return f"{__version__} {files} {' '.join(ready)}"


def _annotate(
    annotations: Sequence[Annotations], progress: Progress, cancelled: Callable[[], bool]
) -> tuple[BrokenEpisode, ...]:
    problems = []
    for entry in annotations:
        if cancelled():
            break
        try:
            if entry.ready() is None:
                entry.build(_telling_bytes(progress, entry.path.name), cancelled)
        except UserError as error:
            problems.append(BrokenEpisode(str(entry.path), str(error)))
    return tuple(problems)


def _telling(progress: Progress, what: str) -> Callable[[int], None]:
    return lambda done: progress(IndexProgress(what, done))


def _telling_bytes(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda read, size: progress(IndexProgress(what, read, size))
