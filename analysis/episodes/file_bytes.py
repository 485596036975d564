"""The bytes of files that may lie behind a remote root.

Every source reads files through here. A remote root has a stand-in on this machine: a folder of empty files with the
names, sizes and times of the remote ones (`analysis/episodes/remote/mirror.py`), so that listing and looking at sizes
is the same for both; the bytes of a stand-in come from the other end, block by block.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from models.errors import UserError

BUFFER = 1 << 16  # bytes


class Unreachable(UserError):
    """A storage does not answer, or does not let us in: nothing that it holds can be judged."""


@runtime_checkable
class Positions(Protocol):
    """An open file that is read at given positions."""

    def pread(self, size: int, offset: int) -> bytes:
        """Fewer than ``size`` bytes only at the end of the file. Raises OSError or UserError."""
        ...


@runtime_checkable
class Remote(Protocol):
    """A remote root with its stand-in."""

    tree: Path
    failures: int  # how often a storage did not answer

    def raw(self, path: Path) -> io.RawIOBase: ...

    def positions(self, path: Path) -> Positions: ...

    def refresh(self, age: float) -> None:
        """Lists the remote files again unless that was done in the last ``age`` seconds."""
        ...

    def limit(self, size: int) -> None:
        """Bounds the bytes that are kept."""
        ...

    def said(self, text: str) -> str:
        """``text`` with addresses in place of the stand-in's paths."""
        ...

    def stood_in(self, text: str) -> str:
        """The opposite of `said`."""
        ...


_remotes: dict[str, Remote] = {}  # path of the stand-in -> what it stands for


def register(remote: Remote) -> None:
    """From here on, paths at and below the stand-in are read from the other end."""
    _remotes[str(remote.tree)] = remote


def bound(cache: Path, limit: int) -> None:
    """Lets remote roots keep at most ``limit`` bytes of what they fetched in the folder ``cache``."""
    for remote in _remotes.values():
        if remote.tree.is_relative_to(cache):
            remote.limit(limit)


def remote_of(path: Path) -> Remote | None:
    """The remote root that ``path`` stands for a part of."""
    if not _remotes:
        return None
    name = str(path)
    return next((found for tree, found in _remotes.items() if name == tree or name.startswith(tree + os.sep)), None)


def is_remote(path: Path) -> bool:
    return remote_of(path) is not None


def refresh(path: Path, age: float = 30.0) -> None:
    """Where ``path`` is a stand-in: lists the remote files, unless that was done in the last ``age`` seconds."""
    if (remote := remote_of(path)) is not None:
        remote.refresh(age)


def opening(path: Path) -> io.BufferedReader:
    """The file, open for reading. Raises OSError, and UserError where a remote one cannot be had."""
    remote = remote_of(path)
    return path.open("rb") if remote is None else io.BufferedReader(remote.raw(path), BUFFER)


def read_bytes(path: Path) -> bytes:
    if not is_remote(path):
        return path.read_bytes()
    with opening(path) as stream:
        return stream.read()


def beginning(path: Path, size: int) -> bytes:
    """The first ``size`` bytes, or fewer where the file has no more."""
    with opening(path) as stream:
        return stream.read(size)


def path_or_stream(path: Path) -> Path | io.BufferedReader:
    """For libraries that open files themselves: the path, or an open file where the bytes are elsewhere."""
    return opening(path) if is_remote(path) else path


@contextmanager
def at_positions(path: Path) -> Iterator[Positions]:
    """The file, for reads at given positions; open as long as the context lasts. Raises OSError."""
    if (remote := remote_of(path)) is not None:
        yield remote.positions(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe named like a file must not hold us up
    try:
        yield _Descriptor(descriptor)
    finally:
        os.close(descriptor)


class _Descriptor:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)
