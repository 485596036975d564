"""Finding and opening HDF5 files, ours and foreign ones, and what is said when one cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import h5py

from analysis.episodes import file_bytes
from analysis.episodes.links import stays_inside
from models.errors import UserError

SUFFIXES = (".hdf5", ".h5")
SIGNATURE = b"\x89HDF\r\n\x1a\n"
LOOKED_IN = 1_000  # folders, until a file is found by which the format is recognised
LFS_POINTER = b"version https://git-lfs"


def hdf5_files(root: Path, folders: int | None = None) -> Iterator[Path]:
    """Candidate files in a stable order; folders behind symbolic links are not entered, hidden files not listed.

    Of ``folders`` only, where it is given: to recognise a format without walking a large data set of another one.
    """
    if root.is_file():
        yield root
        return
    for folder, inner, found in islice(os.walk(root, followlinks=False), folders):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(found):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder) / name


def name_of(path: Path, root: Path) -> str:
    """A file's path below ``root`` without its suffix, the stem if it is the root itself: part of episodes' ids."""
    return path.stem if path == root else path.relative_to(root).with_suffix("").as_posix()


def named(name: str, root: Path) -> Path:
    """The file that `name_of` calls so, found without listing the folder. Raises UserError if there is none."""
    inside = Path(name)
    if root.is_file():
        candidates = [root] if name == root.stem else []
    elif not name or inside.is_absolute() or any(part.startswith(".") for part in inside.parts):
        candidates = []
    else:
        candidates = [root / f"{name}{suffix}" for suffix in sorted(SUFFIXES)]  # as listed
    for path in candidates:
        if path.is_file() and stays_inside(path, root):
            return path
    some = ", ".join(name_of(path, root) for path in islice(hdf5_files(root), 5))
    raise UserError(f"there is no readable file {name!r} at {root}; it has {some or 'none'}")


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in ns: what is remembered about a file is forgotten when they change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def check_inside(path: Path, root: Path) -> None:
    """Raises UserError for a link that leads out of ``root``, or to nothing."""
    if path.is_symlink() and not stays_inside(path, root):
        raise UserError(f"{path.name} is a link that leads out of {root}; put the file itself there")
    if not path.exists():
        raise UserError(f"{path.name} is gone, or is a link to nothing")


def begins_with(path: Path, beginning: bytes) -> bool:
    return file_bytes.beginning(path, len(beginning)) == beginning


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """The file open for reading, without a lock (a reader must not keep others out, nor need a writable disk)."""
    remote = file_bytes.remote_of(path)
    raw = None if remote is None else remote.raw(path)
    try:
        with h5py.File(path, "r", locking=False) if raw is None else h5py.File(raw, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # what h5py raises for damaged files
        if isinstance(failure := getattr(raw, "failure", None), UserError):  # h5py makes something else of it
            raise failure from None
        raise UserError(_unreadable(path, error)) from None


def _unreadable(path: Path, error: Exception) -> str:
    said = (str(error).splitlines() or [""])[0]
    if isinstance(error, PermissionError) or "Permission denied" in said:
        return f"{path.name} may not be read by this user; change its permissions"
    if "truncated" in said:
        size = path.stat().st_size
        return f"{path.name} is cut short: it has {size:,} bytes and its header promises more; copy it again"
    if begins_with(path, LFS_POINTER):
        return f"{path.name} is a Git LFS pointer, not the file itself; fetch it with 'git lfs pull'"
    if path.stat().st_size == 0:
        return f"{path.name} is empty; copy it again"
    if begins_with(path, b"\0" * len(SIGNATURE)):
        return f"{path.name} begins with zeros: it was not downloaded completely; copy it again"
    if not begins_with(path, SIGNATURE):
        return f"{path.name} is no HDF5 file: it does not begin with HDF5's signature"
    return f"{path.name} cannot be read as HDF5 and is probably damaged ({said or type(error).__name__})"
