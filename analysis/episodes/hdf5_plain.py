"""Datasets of foreign HDF5 files, checked before they are read.

Only plain datasets inside the file are followed, only filters that come with the HDF5 library are run, and what a
file claims about sizes is bounded before memory is set aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from analysis.episodes.finite import not_finite
from analysis.episodes.hdf5_file import reading
from analysis.episodes.hdf5_guard import WHOLE, Part, check
from models.errors import UserError

MAX_STEPS = 1_000_000
MAX_COLUMNS = 1_000
MAX_CHUNK_BYTES = 256_000_000
FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # deflate, shuffle, fletcher32, szip, nbit, scaleoffset, h5py's own lzf
DAMAGE = (TypeError, ValueError, AttributeError, IndexError, OverflowError, MemoryError, RecursionError)


@contextmanager
def reading_foreign(path: Path, part: Part = WHOLE) -> Iterator[h5py.File]:
    """The file open for reading, after a trial of ``part`` in a process that may die.

    Raises UserError if it cannot be read.
    """
    check(path, part)
    try:
        with reading(path) as file:
            yield file
    except DAMAGE as error:  # what h5py and NumPy raise for values of an unexpected type
        raise UserError(f"{path.name} holds something unexpected and is probably damaged: {_first(error)}") from None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def member(file: h5py.File, name: str, where: str) -> h5py.Group | h5py.Dataset | None:
    """What stands at ``name``; None if nothing does. Raises UserError for a link on the way there."""
    position = file
    for part in name.split("/"):
        link = position.get(part, getlink=True) if isinstance(position, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise UserError(f"/{name} in {where} is a link; only data inside the file itself is read")
        position = position[part]
    return position


def group(file: h5py.File, name: str, where: str) -> h5py.Group:
    """The group at ``name``. Raises UserError if there is none."""
    found = member(file, name, where)
    if not isinstance(found, h5py.Group):
        raise UserError(f"{where} has no group /{name}; found {_kind(found)}")
    return found


def plain(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """The dataset at ``name``, safe to read row by row. Raises UserError otherwise."""
    found = member(file, name, where)
    if not isinstance(found, h5py.Dataset):
        raise UserError(f"{where} has no dataset /{name}; found {_kind(found)}")
    if found.external or found.is_virtual:
        raise UserError(f"/{name} in {where} keeps its data in another file; only data inside the file is read")
    properties = found.id.get_create_plist()
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    if not filters <= FILTERS:
        raise UserError(
            f"/{name} in {where} is compressed by HDF5 filter {min(filters - FILTERS)}, which needs a plug-in; "
            "repack it with gzip"
        )
    if found.chunks is not None and math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK_BYTES:
        raise UserError(
            f"/{name} in {where} is stored in chunks of {list(found.chunks)}; at most {MAX_CHUNK_BYTES:,} bytes are"
            " read"
        )
    return found


def _kind(found: object) -> str:
    return "nothing" if found is None else "a dataset" if isinstance(found, h5py.Dataset) else "a group"


def table(file: h5py.File, name: str, where: str) -> Float[np.ndarray, "T C"]:
    """Numbers over time as float32, one column if the dataset has no second axis.

    Raises UserError if it is anything else, or implausibly large.
    """
    data = plain(file, name, where)
    if data.ndim not in (1, 2) or data.dtype.kind not in "fiub":
        raise UserError(f"/{name} in {where} is {data.dtype} {list(data.shape)}; expected numbers [steps, columns]")
    if len(data) > MAX_STEPS or data.size > len(data) * MAX_COLUMNS:
        raise UserError(f"/{name} in {where} claims {list(data.shape)}; at most [{MAX_STEPS}, {MAX_COLUMNS}] is read")
    with np.errstate(over="ignore"):
        values: np.ndarray = data[()].astype(np.float32)
    return values.reshape(len(values), -1) if len(values) else np.zeros((0, 0), np.float32)


def check_length(found: int, expected: int, what: str, where: str) -> None:
    """Raises UserError if they differ."""
    if found != expected:
        raise UserError(f"lengths disagree in {where}: {what} has {found} entries, expected {expected}, one an action")


def check_finite(values: Float[np.ndarray, "T C"], columns: tuple[str, ...], what: str, where: str) -> None:
    """Raises UserError for NaN or infinity, naming step and dimension."""
    if said := not_finite(values, columns, what):
        raise UserError(f"{where} has {said}")
