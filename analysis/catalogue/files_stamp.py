"""Tells whether a data set's files are those that were scanned, without reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from analysis.episodes.file_bytes import refresh


def files_stamp(*roots: Path) -> str:
    """A digest of names, sizes and modification times (ns) of all files at ``roots``; the same while nothing changed.

    Give every file that what is listed depends on, such as annotations beside the data set itself. Links to folders
    are not followed; a root that is absent counts as such. A remote data set's files are listed again; raises UserError
    where that fails.
    """
    digest = hashlib.sha256()
    for root in roots:
        refresh(root)
        digest.update(f"root {root}\0".encode("utf-8", "surrogateescape"))
        for line in _lines(root):
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _lines(root: Path) -> Iterator[str]:
    if not root.is_dir():
        yield _line(str(root), root.name)
    for folder, inner, names in os.walk(root, followlinks=False):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            yield _line(path, os.path.relpath(path, root))


def _line(path: str, name: str) -> str:
    try:
        status = os.stat(path)  # of what a link leads to: that is what is read
    except OSError as error:
        return f"{name}\0{error.errno}\0"
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0"
