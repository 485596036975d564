"""Files that are either whole or absent, also after a crash or with several writers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART_SUFFIX = ".part"


@contextmanager
def written_once(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write; on success it becomes ``path``, unless another writer was first.

    The temporary file is on disk before the name appears: whoever sees ``path`` sees all of it.
    """
    with _temporary(path) as part:
        yield part
        _sync(part)
        try:
            os.link(part, path)  # unlike a rename, a link never replaces what is there
        except FileExistsError:
            return
        except OSError:  # a file system without hard links: still whole or absent, but the last writer wins
            os.replace(part, path)
        _sync(path.parent)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """As `written_once`, but the last writer wins."""
    with _temporary(path) as part:
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART_SUFFIX)
    os.fchmod(handle, 0o644)  # mkstemp's 0600 would keep the file from other people of the same machine
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
