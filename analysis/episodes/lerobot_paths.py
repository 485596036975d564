"""Where the files of a LeRobot data set lie. Templates and keys are data: they are filled in, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

from analysis.episodes.file_bytes import beginning, read_bytes
from analysis.episodes.links import stays_inside
from models.errors import UserError

PLACEHOLDER = re.compile(r"\{([a-z_]{1,30})(?::0?(\d{1,2})d)?\}")
LFS_SIGNATURE = b"version https://git-lfs.github.com/spec/"
LFS_LIMIT = 1024  # bytes; a pointer is smaller
MAX_PATH = 1_000


def fill(template: str, values: Mapping[str, int | str]) -> str:
    """The path that a template such as ``data/chunk-{episode_chunk:03d}/...`` gives for these values.

    Raises UserError for a placeholder that is not among ``values``, or a path that leads out of the data set.
    """
    if "{" in (rest := PLACEHOLDER.sub("", template)) or "}" in rest:
        raise UserError(
            f"the path template {template!r} in info.json is not understood; expected {{name}} or {{name:03d}}"
        )
    path = PLACEHOLDER.sub(partial(_value, template, values), template)
    check_relative(path)
    return path


def _value(template: str, values: Mapping[str, int | str], match: re.Match[str]) -> str:
    name, width = match.group(1), int(match.group(2) or 0)
    if name not in values:
        raise UserError(f"the path template {template!r} in info.json asks for {name!r}; known: {', '.join(values)}")
    return str(values[name]).zfill(width) if isinstance(values[name], int) else str(values[name])


def check_relative(path: str) -> None:
    """Raises UserError unless ``path`` is a plain path below the data set's folder."""
    parts = PurePosixPath(path).parts
    if not parts or len(path) > MAX_PATH or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise UserError(f"the path {path[:200]!r} leads out of the data set; expected one below its folder")


def present(root: Path, relative: str) -> Path:
    """The file at ``relative``. Raises UserError if it is absent, a Git LFS pointer, or a link that leads out."""
    check_relative(relative)
    path = root / relative
    if not _inside(path.parent, root) or (path.is_symlink() and not stays_inside(path, root)):
        raise UserError(f"{relative} is behind a link that leads out of {root}; put the file itself there")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UserError(f"{relative} is no file")
        if 0 < size < LFS_LIMIT and beginning(path, len(LFS_SIGNATURE)) == LFS_SIGNATURE:
            raise UserError(f"{relative} is a Git LFS pointer, not the file itself; run: git lfs pull")
    except FileNotFoundError:
        raise UserError(f"{relative} is missing; the data set was not downloaded completely") from None
    except OSError as error:
        raise UserError(f"{relative} cannot be read: {error.strerror}") from None
    if size == 0:
        raise UserError(f"{relative} is empty; copy it again")
    return path


def bounded_text(root: Path, relative: str, limit: int) -> str:
    """A small text file. Raises UserError if it is larger than ``limit`` bytes or not UTF-8."""
    path = present(root, relative)
    if path.stat().st_size > limit:
        raise UserError(f"{relative} has {path.stat().st_size:,} bytes; at most {limit:,} are read")
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{relative} is no UTF-8 text") from None


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds: whether a file is still the one that was read."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


def clean(value: str) -> str:
    """Text without lone surrogates, which JSON can express and nothing can store."""
    return value.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=4096)
def _inside(folder: Path, root: Path) -> bool:
    return stays_inside(folder, root)
