"""Exporting what was found in a workspace's index: a folder for each data set, broken and unfitting ones named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from analysis.catalogue import EpisodeIndex, Filter, IndexedEpisode, Order
from analysis.catalogue.index import LARGEST_PAGE
from analysis.episodes import BrokenEpisode
from analysis.export.export import Exported, export_episodes
from analysis.joined_source import JoinedSource
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError


@dataclass(frozen=True)
class SelectedEpisodes:
    """Some episodes of a source, in the order in which they were selected."""

    source: JoinedSource
    entries: tuple[EpisodeMeta | BrokenEpisode, ...]

    @property
    def root(self) -> Path:
        return self.source.root

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        for entry in self.entries:
            if isinstance(entry, EpisodeMeta):
                self.source.expect(entry.id, entry.source)
            yield entry

    def open(self, id: str) -> Episode:
        return self.source.open(id)


def export_indexed(
    selected: Sequence[IndexedEpisode],
    source: Callable[[str], JoinedSource],
    out: Path,
    format: str,
    video: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Exported, ...]:
    """Exports to ``out`` itself, or to one folder below it for each data set where they are several.

    What cannot be exported is in `Exported.skipped`; a data set of which nothing can be, with its reason, too. Raises
    UserError where that is all of it.
    """
    groups: dict[str, list[EpisodeMeta | BrokenEpisode]] = {}
    for one in selected:
        groups.setdefault(one.dataset, []).append(one.entry)
    done, offset = [], 0
    for name, entries in groups.items():
        folder = out / quote(name.strip("/"), safe="._- ").replace("%2F", "-") if len(groups) > 1 else out
        told = _told(progress, offset, len(selected))
        try:
            one_source = SelectedEpisodes(source(name), tuple(entries))
            done.append(export_episodes(one_source, folder, format, skip_broken=True, video=video, progress=told))
        except UserError as error:
            if len(groups) == 1:
                raise
            done.append(Exported(folder, format, 0, 0, (BrokenEpisode(name, str(error)),)))
        offset += len(entries)
    if not any(one.episodes for one in done):
        raise UserError(done[0].skipped[0].reason if done else "no episode is selected; select some to export")
    return tuple(done)


def all_matching(index: EpisodeIndex, filter: Filter, order: Order) -> list[IndexedEpisode]:
    """Every entry that passes, broken ones included."""
    found: list[IndexedEpisode] = []
    while True:
        page = index.query(filter, order, len(found) // LARGEST_PAGE, LARGEST_PAGE)
        found += page.entries
        if len(page.entries) < LARGEST_PAGE:
            return found


def named(index: EpisodeIndex, episodes: Sequence[tuple[str, str]]) -> list[IndexedEpisode]:
    """The entries of (data set, id) pairs; what is gone meanwhile is named as broken."""
    found: list[IndexedEpisode] = []
    for dataset, id in episodes:
        gone = IndexedEpisode(dataset, BrokenEpisode(id, f"episode {id!r} is no longer listed in {dataset}"))
        found += index.find(id, dataset)[:1] or (gone,)
    return found


def _told(progress: Callable[[int, int], None] | None, offset: int, total: int) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, _: progress(offset + done, total)
