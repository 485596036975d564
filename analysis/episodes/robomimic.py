"""Episodes of robomimic and LIBERO: HDF5 files with many demonstrations each (docs/episode-foreign-hdf5.md)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import h5py

from analysis.episodes.file_bytes import Unreachable
from analysis.episodes.hdf5_file import check_inside, hdf5_files, name_of, named, stamp
from analysis.episodes.hdf5_guard import Part, check
from analysis.episodes.hdf5_layout import layout
from analysis.episodes.hdf5_plain import group, reading_foreign
from analysis.episodes.hdf5_trajectory import Hdf5Trajectory
from analysis.episodes.robomimic_demo import demo_names, demo_part, filters, read_demo
from analysis.episodes.robomimic_env import read_env
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta
from models.errors import UserError

HEAD = Part(below=("mask",), outline=("data",))  # what is read of a file besides its demonstrations


class RobomimicSource:
    """A file, or every such file in and below a folder. Ids are file/demo, as in ``lift/demo_3``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def handles(cls, path: Path) -> bool:
        return layout(path) == "robomimic"

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Demonstrations in numeric order, file by file. Reads actions, states and rewards, no whole frame."""
        taken: dict[str, Path] = {}
        for path in hdf5_files(self.root):
            try:
                check_inside(path, self.root)
                name = name_of(path, self.root)
                if name in taken:
                    raise UserError(f"{path.name} has the name of {taken[name].name} but for the suffix; rename one")
                taken[name] = path
                yield from _read_metas(path, name, stamp(path))
            except UserError as error:
                yield BrokenEpisode(str(path), str(error))

    def open(self, id: str) -> Hdf5Trajectory:
        name, _, demo = id.rpartition("/")
        if not name:
            raise UserError(f"there is no episode {id!r} at {self.root}; expected an id such as file/demo_0")
        path = named(name, self.root)
        before = stamp(path)
        with reading_foreign(path, demo_part(demo)) as file:
            names = demo_names(group(file, "data", path.name))
            if demo not in names:
                some = f", such as {names[0]}" if names else ""
                raise UserError(f"{path.name} has no {demo!r}; it has {len(names)} others{some}")
            return read_demo(file, demo, f"{name}/{demo}", path, before)


@lru_cache(maxsize=1024)
def _read_metas(path: Path, name: str, stamp: tuple[int, int]) -> tuple[EpisodeMeta | BrokenEpisode, ...]:
    """Kept by size and modification time, so that listing again costs a stat for each file."""
    with reading_foreign(path, HEAD) as file:
        data = group(file, "data", path.name)
        read_env(data, path)
        names = demo_names(data)
        if not names:
            raise UserError(f"{path.name} has no demonstrations; expected groups /data/demo_0, /data/demo_1 ...")
        filters(file, path)
        return tuple(_entry(file, demo, name, path, stamp) for demo in names)


def _entry(file: h5py.File, demo: str, name: str, path: Path, stamp: tuple[int, int]) -> EpisodeMeta | BrokenEpisode:
    try:
        check(path, demo_part(demo, rows=True))
        return read_demo(file, demo, f"{name}/{demo}", path, stamp).meta
    except Unreachable:
        raise
    except (UserError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py's, for one damaged demo
        return BrokenEpisode(f"{path}/{demo}", str(error).splitlines()[0] if str(error) else type(error).__name__)
