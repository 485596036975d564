"""Which layout an HDF5 file has: they share a suffix and a signature, so somebody has to look inside."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from pathlib import Path

import h5py

from analysis.episodes.file_bytes import Unreachable, beginning, is_remote
from analysis.episodes.hdf5_file import LOOKED_IN, SIGNATURE, hdf5_files, stamp
from analysis.episodes.hdf5_guard import OUTLINE
from analysis.episodes.hdf5_plain import reading_foreign
from models.errors import UserError

OUR_FORMAT = b"vla-lens-episode"
HEAD_BYTES = 1 << 20  # within which our own format's name stands
LOOKED_AT = 20  # files of a folder, until one is recognised


def layout(path: Path) -> str:
    """Of a file, or of the first recognisable file of a folder: "hdf5" (ours), "robomimic", "aloha" or ""."""
    return next(
        (
            found
            for file in islice(hdf5_files(path, LOOKED_IN), LOOKED_AT)
            if file.is_file() and (found := _of_file(file))
        ),
        "",
    )


def _of_file(path: Path) -> str:
    try:
        return _look(path, stamp(path))
    except OSError:
        return ""


@lru_cache(maxsize=4096)
def _look(path: Path, stamp: tuple[int, int]) -> str:
    head = beginning(path, len(SIGNATURE) if is_remote(path) else HEAD_BYTES)
    if not head.startswith(SIGNATURE):
        return ""
    if OUR_FORMAT in head:
        return "hdf5"  # told without opening it: nothing to pay for our own files
    try:
        with reading_foreign(path, OUTLINE) as file:
            return _inside(file)
    except Unreachable:
        raise
    except UserError:
        return ""


def _inside(file: h5py.File) -> str:
    if "format" in file.attrs:
        return "hdf5"
    data = file.get("data")
    if isinstance(data, h5py.Group) and ("env_args" in data.attrs or any(name.startswith("demo_") for name in data)):
        return "robomimic"
    if isinstance(file.get("observations"), h5py.Group) and "action" in file:
        return "aloha"
    return ""
