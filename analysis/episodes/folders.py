"""Folders of one kind at or a little below the one that is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

LEVELS = 2  # <opened>/<data set>/<version>, <opened>/<user>/<data set>


def nearest(root: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """``root`` if it is wanted; else those of the first level below that has any, at most two levels down, in order.

    Links to folders are not entered, nor are folders whose name begins with a dot.
    """
    level, found = [root], [root] if wanted(root) else []
    for _ in range(LEVELS):
        if found:
            break
        level = [entry for folder in level for entry in entries(folder) if entry.is_dir() and not entry.is_symlink()]
        found = [folder for folder in level if wanted(folder)]
    return found


def entries(folder: Path) -> list[Path]:
    """What is in ``folder``, in order, without what is hidden; nothing where it may not be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def prefix(folder: Path, root: Path, among: int) -> str:
    """What begins the ids of the episodes in ``folder``: its path below ``root`` where it is one of several."""
    return f"{folder.relative_to(root).as_posix()}/" if among > 1 else ""
