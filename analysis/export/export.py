"""Exporting a selection of episodes: one at a time, into a folder that appears only when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from analysis.episodes import BrokenEpisode, OpenedSource
from analysis.export.hdf5 import Hdf5Folder
from analysis.export.lerobot import LerobotFolder
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError

FORMATS = ("hdf5", "lerobot")
Progress = Callable[[int, int], None]  # episodes done, episodes in all


@dataclass(frozen=True)
class Exported:
    path: Path
    format: str
    episodes: int
    steps: int
    skipped: tuple[BrokenEpisode, ...]


class EpisodeFolder(Protocol):
    """A format to write."""

    def add(self, episode: Episode) -> None:
        """Raises UserError, and leaves nothing of it behind, for an episode that cannot be written."""
        ...

    def close(self) -> None: ...


def export_episodes(
    source: OpenedSource,
    out: str | os.PathLike[str],
    format: str,
    *,
    ids: Sequence[str] | None = None,
    skip_broken: bool = False,
    video: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Writes the episodes called ``ids``, or all, as ``format`` ("hdf5" or "lerobot") to the new folder ``out``.

    Memory holds one episode at a time. ``video``: frames of LeRobot as mp4, which loses a little of them. Raises
    UserError, and leaves nothing, if ``out`` exists and is not empty, if an id is unknown, or if an episode is broken
    and ``skip_broken`` does not say to leave it out.
    """
    if format not in FORMATS:
        raise UserError(f"there is no format {format!r} to export to; the formats are {', '.join(FORMATS)}")
    if video and format != "lerobot":
        raise UserError("our HDF5 passes frames on as stored; videos are for the format lerobot")
    skipped: list[BrokenEpisode] = []
    metas = _selected(source, ids, skipped)
    if skipped and not skip_broken:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise UserError(f"{len(skipped)} of the episodes cannot be read, and skipping was not asked for; first {first}")
    with _new_folder(Path(out), getattr(source, "root", None)) as folder:
        writer: EpisodeFolder
        if format == "hdf5":
            writer = Hdf5Folder(folder)
        else:
            writer = LerobotFolder(folder, language=any(meta.has_rationale for meta in metas), video=video)
        done = steps = 0
        for number, meta in enumerate(metas, 1):
            try:
                writer.add(source.open(meta.id))
                done, steps = done + 1, steps + meta.length
            except UserError as error:
                if not skip_broken:
                    raise
                skipped.append(BrokenEpisode(meta.source, str(error)))
            if progress is not None:
                progress(number, len(metas))
        if not done:
            raise UserError(f"there is nothing to export: {len(skipped)} episodes are broken, and no other is selected")
        writer.close()
    return Exported(Path(out), format, done, steps, tuple(skipped))


def _selected(source: OpenedSource, ids: Sequence[str] | None, skipped: list[BrokenEpisode]) -> list[EpisodeMeta]:
    metas: list[EpisodeMeta] = []
    if ids is None:
        for entry in source.scan():
            if isinstance(entry, BrokenEpisode):
                skipped.append(entry)
            else:
                metas.append(entry)
        return metas
    for id in dict.fromkeys(ids):
        try:
            metas.append(source.open(id).meta)
        except UserError as error:
            skipped.append(BrokenEpisode(id, str(error)))
    return metas


@contextmanager
def _new_folder(out: Path, source: Path | None) -> Iterator[Path]:
    """A temporary folder beside ``out`` that takes its name at the end, or goes."""
    out = out.expanduser().resolve()
    if out.exists() and (not out.is_dir() or next(out.iterdir(), None) is not None):
        raise UserError(f"{out} exists and is not an empty folder; name a new one")
    if source is not None and source.is_dir() and out.is_relative_to(source.resolve()):
        raise UserError(f"{out} lies in the data set that is exported; name a folder outside of {source}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}; name a folder that may be written") from None
    try:
        yield part
        part.chmod(0o755)  # mkdtemp's 0700 would keep the folder from other people of the same machine
        os.replace(part, out)  # replaces an empty folder, and no other
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}; free space or name another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
