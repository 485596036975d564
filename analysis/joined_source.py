"""A source whose episodes carry what the workspace knows beside their files: annotations, and a description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from analysis.annotations import AnnotatedEpisode, EcotIndex, build_ecot_index, ready_ecot_index
from analysis.dataset_description import EMPTY, DatasetDescription, read_description
from analysis.described_episode import DescribedEpisode
from analysis.episodes import BrokenEpisode, EpisodeSource
from analysis.rationales.taught_episode import TaughtEpisode, fitting, gathered, marked_taught, rationale_files
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError


@runtime_checkable
class Expecting(Protocol):
    """A source that lists its whole folder to find an episode, unless it is told where an earlier scan found it."""

    def expect(self, id: str, source: str) -> None: ...


@dataclass(frozen=True)
class Annotations:
    """A file of ECoT annotations and the index that is made of it."""

    path: Path
    index: Path

    def ready(self) -> EcotIndex | None:
        """The index, where it is made and belongs to the file as it is now."""
        return ready_ecot_index(self.path, self.index)

    def build(self, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> EcotIndex | None:
        """See `build_ecot_index`."""
        return build_ecot_index(self.path, self.index, progress, cancelled)


@dataclass(frozen=True)
class StoredFacts:
    meta: EpisodeMeta
    actions: int  # dimensions
    states: int  # dimensions; 0: no states


@dataclass(frozen=True)
class JoinedSource:
    """Episodes of ``source``, annotated first, then corrected."""

    source: EpisodeSource
    description: Path  # file that need not exist
    annotations: tuple[Annotations, ...] = ()
    taught: Path | None = None  # folder of rationales as JSON lines; it need not exist

    @property
    def root(self) -> Path:
        return Path(getattr(self.source, "root", ""))

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """As the source lists them; a description that cannot be used, or does not fit, is named beside them."""
        try:
            description = read_description(self.description)
        except UserError as error:
            yield BrokenEpisode(str(self.description), f"{error}; it is not applied")
            description = EMPTY
        misfits, cameras = Counter[str](), set[str]()
        entries: Iterator[EpisodeMeta | BrokenEpisode] = self.source.scan()
        for index in self._ready():
            entries = index.marked(entries)
        entries = marked_taught(entries, self._taught())
        for entry in entries:
            if isinstance(entry, BrokenEpisode) or description == EMPTY:
                yield entry
                continue
            misfits.update(description.misfits(entry).values())
            cameras.update(entry.cameras)
            yield description.applied(entry)
        if cameras and (absent := [name for name in description.cameras if name not in cameras]):
            misfits[f"'cameras' names {absent[0]!r}, which no episode has; they have {', '.join(sorted(cameras))}"] = 0
        for misfit, count in misfits.items():
            where = f" in {count} {'episode' if count == 1 else 'episodes'}" if count else ""
            yield BrokenEpisode(str(self.description), f"{misfit}{where}; that part is not applied there")

    def open(self, id: str) -> Episode:
        """The episode ``id``, whole. Raises UserError as the source does."""
        episode: Episode = self.source.open(id)
        for index in self._ready():
            if (said := index.annotation(episode.meta)) is not None:
                episode = AnnotatedEpisode.join(episode, said)
        by_episode, _ = gathered(self._taught())
        if added := fitting(by_episode.get(id, ()), episode.meta):
            episode = TaughtEpisode(episode, added)
        description = self._usable()
        return episode if description == EMPTY else DescribedEpisode.corrected(episode, description)

    def as_stored(self, id: str) -> StoredFacts:
        """What the files themselves say about an episode, without the description. Raises UserError as `open` does."""
        episode = self.source.open(id)
        states = episode.states
        return StoredFacts(episode.meta, episode.actions.shape[1], 0 if states is None else states.shape[1])

    def expect(self, id: str, source: str) -> None:
        """Says where an earlier scan found an episode, for sources that want to know."""
        if isinstance(self.source, Expecting):
            self.source.expect(id, source)

    def _taught(self) -> tuple[Path, ...]:
        return rationale_files(self.taught) if self.taught is not None else ()

    def _ready(self) -> list[EcotIndex]:
        return [index for entry in self.annotations if (index := entry.ready()) is not None]

    def _usable(self) -> DatasetDescription:
        """An unusable description is named where episodes are listed; they open as their files say."""
        try:
            return read_description(self.description)
        except UserError:
            return EMPTY
