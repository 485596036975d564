"""Several LeRobot data sets in one folder, such as ~/.cache/huggingface/lerobot: see docs/episode-lerobot.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from analysis.episodes.folders import nearest, prefix
from analysis.episodes.lerobot import LerobotSource
from analysis.episodes.lerobot_episode import LerobotEpisode
from analysis.episodes.lerobot_info import INFO
from analysis.episodes.links import stays_inside
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta
from models.errors import UserError


class LerobotSets:
    """A folder one or two levels above data sets; where there are several, ids begin with the folder of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sources: dict[Path, LerobotSource] = {}  # kept, because each remembers its list

    @classmethod
    def handles(cls, path: Path) -> bool:
        return path.is_dir() and bool(nearest(path, _is_data_set))

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        for begin, source in self._sets():
            for entry in source.scan():
                yield entry if isinstance(entry, BrokenEpisode) else replace(entry, id=begin + entry.id)

    def open(self, id: str) -> LerobotEpisode:
        sets = list(self._sets())
        for begin, source in sets:
            if id.startswith(begin):
                episode = source.open(id.removeprefix(begin))
                return replace(episode, meta=replace(episode.meta, id=id))
        some = ", ".join(begin for begin, _ in sets[:5])
        raise UserError(f"there is no episode {id!r} at {self.root}; ids there begin with {some or 'nothing'}")

    def _sets(self) -> Iterator[tuple[str, LerobotSource]]:
        folders = nearest(self.root, _is_data_set)
        for folder in folders:
            yield prefix(folder, self.root, len(folders)), self._sources.setdefault(folder, LerobotSource(folder))


def _is_data_set(folder: Path) -> bool:
    return stays_inside(folder / INFO, folder) and LerobotSource.handles(folder)
