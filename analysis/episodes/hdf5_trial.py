"""The child process of `hdf5_guard`: reads every part of HDF5 files, so that a crash or a hang happens here.

Run as a script. A line on standard input is a JSON string, the path of a file; the answer is lines of ``.`` while
there is progress and then a JSON string: empty, or why the file must not be read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import h5py

WHOLE_BYTES = 4_000_000  # datasets up to this size are read whole, of larger ones the first, middle and last row
ROW_BYTES = 256_000_000  # a larger row, or chunk, is not read: no source reads it either
MAX_OBJECTS = 200_000
LISTED_BYTES = 50_000_000  # in a file up to this size, elements of variable length are read in one go
MAX_LISTED = 5_000  # elements of variable length, each of which has a reference of its own that may be damaged
MEMORY_BYTES = 3_000_000_000  # of address space
SECONDS = 300  # after which the process ends itself, should nobody be there any more to end it
READ_ERRORS = (Exception,)  # h5py raises many kinds for damage; the source that reads the file names it properly


def serve() -> None:
    """Tries the files named on standard input until that is closed."""
    _limit()
    for line in sys.stdin:
        _arm(SECONDS)
        said = _try(json.loads(line), lambda: print(".", flush=True))
        _arm(0)
        print(json.dumps(said), flush=True)


def _try(path: str, beat: Callable[[], None]) -> str:
    try:
        with h5py.File(path, "r", locking=False) as file:
            for item in _objects(file, beat):
                _read(item, beat)
    except MemoryError:
        return f"needs more than {MEMORY_BYTES:,} bytes of memory to be read"
    except READ_ERRORS:
        return ""  # told properly, without a crash, by whoever reads the file
    return ""


def _objects(file: h5py.File, beat: Callable[[], None]) -> Iterator[h5py.Group | h5py.Dataset]:
    """Every group and dataset inside the file, once each, links to elsewhere left out."""
    waiting, seen = [file], {h5py.h5o.get_info(file.id).addr}
    while waiting and len(seen) < MAX_OBJECTS:
        group = waiting.pop()
        yield group
        for name in islice(group, MAX_OBJECTS):
            beat()
            try:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    continue
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
            except READ_ERRORS:
                continue
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                yield item


def _read(item: h5py.Group | h5py.Dataset, beat: Callable[[], None]) -> None:
    beat()
    for name in islice(item.attrs, MAX_OBJECTS):
        with _damage_aside():
            item.attrs[name]
    if not isinstance(item, h5py.Dataset):
        return
    selections: list[object] = []
    with _damage_aside():
        selections = _selections(item)
    for selection in selections:
        beat()
        with _damage_aside():
            item[selection]


def _selections(data: h5py.Dataset) -> list[object]:
    if data.external or data.is_virtual or data.size in (None, 0):
        return []
    if data.chunks is not None:
        data.id.get_num_chunks()  # walks the whole index of chunks
        if data.dtype.itemsize * _product(data.chunks) > ROW_BYTES:
            return []
    if data.ndim == 0 or (data.nbytes <= WHOLE_BYTES and not data.dtype.hasobject):
        return [()] if data.nbytes <= ROW_BYTES else []
    if data.nbytes // len(data) > ROW_BYTES:
        return []
    if data.dtype.hasobject and data.file.id.get_filesize() <= LISTED_BYTES:
        return [()]  # ten times quicker than one by one
    if data.dtype.hasobject:
        return list(range(min(len(data), MAX_LISTED)))
    return [0, len(data) // 2, len(data) - 1]


def _product(sides: tuple[int, ...]) -> int:
    out = 1
    for side in sides:
        out *= side
    return out


@contextmanager
def _damage_aside() -> Iterator[None]:
    """Goes on after what h5py raises for damage, which is only of interest where it is no exception."""
    try:
        yield
    except MemoryError:
        raise
    except READ_ERRORS as error:
        if "memory" in str(error):  # the HDF5 library's own allocations fail without a MemoryError
            raise MemoryError from None


def _limit() -> None:
    try:
        import resource  # not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _arm(seconds: int) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # the signal's default ends the process, also inside libhdf5


if __name__ == "__main__":
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # load no filter from this machine's plugin folders
    serve()
