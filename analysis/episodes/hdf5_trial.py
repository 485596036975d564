"""The child process of `hdf5_guard`: reads every part of HDF5 files, so that a crash or a hang happens here.

Run as a script. A line on standard input is a JSON object, the path of a file and which part of it is wanted; the
answer is lines of ``.`` while there is progress and then a JSON string: empty, or why the file must not be read. Of a
remote file this process has the size only: it asks for bytes by ``?start stop`` and gets them as a JSON string, base64.
"""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import h5py

WHOLE_BYTES = 4_000_000  # datasets up to this size are read whole, of larger ones the first, middle and last row
LITTLE_BYTES = 100_000  # the same for a list, which reads actions and states and one row of frames
PIECE_BYTES = 1 << 16  # of a remote file, read at a time
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


def _try(asked: dict[str, Any], beat: Callable[[], None]) -> str:
    try:
        with _opened(asked) as file:
            for item in _wanted(file, asked, beat):
                _read(item, beat, asked["rows"])
    except MemoryError:
        return f"needs more than {MEMORY_BYTES:,} bytes of memory to be read"
    except READ_ERRORS:
        return ""  # told properly, without a crash, by whoever reads the file
    return ""


def _opened(asked: dict[str, Any]) -> h5py.File:
    if asked["size"] is None:
        return h5py.File(asked["path"], "r", locking=False)
    return h5py.File(io.BufferedReader(_Pieces(asked["size"]), PIECE_BYTES), "r")


class _Pieces(io.RawIOBase):
    """A file whose bytes the other process has."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        print(f"?{self._at} {stop}", flush=True)
        data = base64.b64decode(json.loads(sys.stdin.readline()))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _wanted(file: h5py.File, asked: dict[str, Any], beat: Callable[[], None]) -> Iterator[h5py.Group | h5py.Dataset]:
    """The objects that are to be read; groups on the way to them, of which the names are listed, come first."""
    if asked["below"] is None:
        yield from _objects(file, beat)
        return
    yield file
    for path in (*asked["outline"], *asked["below"]):
        position: h5py.Group | h5py.Dataset = file
        for name in path.split("/"):
            beat()
            if not isinstance(position, h5py.Group) or not isinstance(position.get(name, getlink=True), h5py.HardLink):
                break
            position = position[name]
            if isinstance(position, h5py.Group):
                for _ in islice(position, MAX_OBJECTS):
                    pass
            yield position
        else:
            if path in asked["below"] and isinstance(position, h5py.Group):
                yield from _objects(position, beat)


def _objects(file: h5py.Group, beat: Callable[[], None]) -> Iterator[h5py.Group | h5py.Dataset]:
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


def _read(item: h5py.Group | h5py.Dataset, beat: Callable[[], None], rows: bool) -> None:
    beat()
    for name in islice(item.attrs, MAX_OBJECTS):
        with _damage_aside():
            item.attrs[name]
    if not isinstance(item, h5py.Dataset):
        return
    selections: list[object] = []
    with _damage_aside():
        selections = _selections(item, LITTLE_BYTES if rows else WHOLE_BYTES)
    for selection in selections:
        beat()
        with _damage_aside():
            item[selection]


def _selections(data: h5py.Dataset, whole: int) -> list[object]:
    if data.external or data.is_virtual or data.size in (None, 0):
        return []
    if data.chunks is not None:
        data.id.get_num_chunks()  # walks the whole index of chunks
        if data.dtype.itemsize * _product(data.chunks) > ROW_BYTES:
            return []
    if data.ndim == 0 or (data.nbytes <= whole and not data.dtype.hasobject):
        return [()] if data.nbytes <= ROW_BYTES else []
    if data.nbytes // len(data) > ROW_BYTES:
        return []
    if whole == LITTLE_BYTES:
        return [len(data) // 2]
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
