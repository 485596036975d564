"""Exports that the catalogue starts: into ``exports/`` of the workspace, in the background."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.export import FORMATS
from analysis.export.indexed import all_matching, export_indexed, named
from analysis.workspace import Workspace
from app.episode_list import EpisodeList
from app.tasks import Cancelled, Progress, Work
from models.errors import UserError

FOLDER = "exports"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
TITLES = {"hdf5": "HDF5 (ours)", "lerobot": "LeRobot v3"}

assert set(TITLES) == set(FORMATS)


def suggested_name() -> str:
    """A new folder's name: the time in UTC."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


def export_folder(workspace: Workspace, name: str) -> Path:
    """Raises UserError for a name that is no plain folder name, or that is taken."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name[:80]!r} cannot name the export; use letters, digits, '.', '_' and '-'")
    folder = workspace.path / FOLDER / name
    if folder.exists():
        raise UserError(f"{FOLDER}/{name} exists already; give the export another name")
    return folder


def export_work(
    workspace: Workspace, wanted: EpisodeList | Sequence[tuple[str, str]], folder: Path, format: str, video: bool
) -> Work:
    """What a task does: everything of a list, or the (data set, id) pairs that were ticked."""

    def work(_: tuple[Any, ...], progress: Progress, cancelled: Callable[[], bool]) -> Any:
        if isinstance(wanted, EpisodeList):
            selected = all_matching(workspace.index, wanted.filter, wanted.order)
        else:
            selected = named(workspace.index, wanted)
        progress(0, len(selected))
        if cancelled():
            raise Cancelled
        return export_indexed(selected, workspace.source, folder, format, video, progress)

    return work
