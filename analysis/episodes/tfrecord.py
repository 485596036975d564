"""TFRecord files: length (u64), masked crc32c of the length, payload, masked crc32c of the payload; again and again.

Reads headers only to find the records; a payload is read in pieces, when and as far as it is wanted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import google_crc32c
import numpy as np
from jaxtyping import Int64

from analysis.episodes.file_bytes import Positions, at_positions
from models.errors import UserError

HEADER = struct.Struct("<QI")  # length of the payload in bytes, masked crc32c of these eight bytes
FOOTER = struct.Struct("<I")  # masked crc32c of the payload
MAX_RECORDS = 1_000_000  # of one file
PIECE = 1 << 20  # bytes read at a time where everything has to be read
BLOCK = 4096  # bytes read at a time where only names and sizes are wanted
LFS_POINTER = b"version https://git-lfs"

Stamp = tuple[int, int]  # size in bytes and modification time in ns


@dataclass(frozen=True)
class ShardIndex:
    """Where the payloads of one file lie."""

    offsets: Int64[np.ndarray, " N"]  # bytes from the file's start to the payload
    lengths: Int64[np.ndarray, " N"]  # bytes of the payload
    problem: str = ""  # why no more records than these can be found; empty when the file ends as it should

    def __len__(self) -> int:
        return len(self.offsets)


class Malformed(ValueError):
    """Bytes that are not what they should be; whoever knows the record's number makes a UserError of it."""


@dataclass
class Payload:
    """One record's payload, read from its file where it is asked for. Positions count from the payload's start."""

    file: Positions
    offset: int
    length: int
    _block: bytes = field(default=b"", repr=False)
    _block_start: int = field(default=0, repr=False)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop). Raises Malformed if they do not all lie in the payload."""
        if not 0 <= start <= stop <= self.length:
            raise Malformed(f"bytes {start:,} to {stop:,} of {self.length:,} were to be read")
        if stop - start > BLOCK:
            return self._pread(start, stop)
        if not self._block_start <= start <= stop <= self._block_start + len(self._block):
            self._block, self._block_start = self._pread(start, min(start + BLOCK, self.length)), start
        return self._block[start - self._block_start : stop - self._block_start]

    def stored_crc(self) -> int:
        """The masked crc32c written behind the payload."""
        found = self.file.pread(FOOTER.size, self.offset + self.length)
        if len(found) < FOOTER.size:
            raise Malformed("it is cut short")
        return int(FOOTER.unpack(found)[0])

    def check(self) -> None:
        """Reads the whole payload, a piece at a time. Raises Malformed if its checksum is another than the stored."""
        crc = 0
        for start in range(0, self.length, PIECE):
            crc = google_crc32c.extend(crc, self._pread(start, min(start + PIECE, self.length)))
        if masked(crc) != self.stored_crc():
            raise Malformed("its bytes do not have the checksum that was written with them")

    def _pread(self, start: int, stop: int) -> bytes:
        try:
            found = self.file.pread(stop - start, self.offset + start)
        except OSError as error:  # a failing disk, a network share that is gone
            raise Malformed(f"it cannot be read: {error.strerror}") from None
        if len(found) < stop - start:
            raise Malformed("the file ends within it")
        return found


def index_shard(path: Path) -> ShardIndex:
    """Finds the records by their headers (12 bytes of each are read); kept by size and modification time.

    Raises UserError for an empty file, a Git LFS pointer and a file that does not begin with a TFRecord header.
    """
    return _index(path, stamp(path))


def stamp(path: Path) -> Stamp:
    """What tells that a file changed. Raises UserError if it is gone."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


@contextmanager
def opened(path: Path) -> Iterator[Positions]:
    """The file, for reads at given positions; open as long as the context lasts."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(at_positions(path))
        except OSError as error:
            raise UserError(f"{path.name} cannot be read: {error.strerror}") from None
        yield file


def masked(crc: int) -> int:
    """The checksum as TFRecord stores it: rotated and shifted, since data with crcs inside make bad crcs."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def _index(path: Path, stamp: Stamp) -> ShardIndex:
    size = stamp[0]
    if not path.is_file():
        raise UserError(f"{path.name} is no plain file; expected a TFRecord file")
    if size == 0:
        raise UserError(f"{path.name} is empty; expected a TFRecord file; copy it again")
    with opened(path) as file:
        _check_start(file, path)
        offsets, lengths, problem = _walk(file, size)
    if problem and not offsets:
        raise UserError(f"{path.name} has no readable record: {problem}")
    return ShardIndex(np.array(offsets, np.int64), np.array(lengths, np.int64), problem)


def _check_start(file: Positions, path: Path) -> None:
    start = file.pread(64, 0)
    if start.startswith(LFS_POINTER):
        raise UserError(
            f"{path.name} is a Git LFS pointer, not the data; run 'git lfs pull' in its repository to get the file"
        )
    if start.startswith(b"\x1f\x8b"):
        raise UserError(f"{path.name} is compressed with gzip; only plain TFRecord files are read; unpack it first")


def _walk(file: Positions, size: int) -> tuple[list[int], list[int], str]:
    """Offsets and lengths of the payloads, and why it ended before the file does, if so."""
    offsets: list[int] = []
    lengths: list[int] = []
    at = 0
    while at < size:
        try:
            length = _header(file, at, size - at, len(offsets))
        except Malformed as error:
            return offsets, lengths, str(error)
        offsets.append(at + HEADER.size)
        lengths.append(length)
        at += HEADER.size + length + FOOTER.size
    return offsets, lengths, ""


def _header(file: Positions, at: int, left: int, number: int) -> int:
    """The payload's length by the header at ``at``. Raises Malformed, in a sentence, if the record is not all there."""
    if number >= MAX_RECORDS:
        raise Malformed(f"only its first {MAX_RECORDS:,} records are read; {left:,} bytes after them are not")
    header = file.pread(HEADER.size, at)
    if len(header) < HEADER.size:
        raise Malformed(f"record {number} is cut short: the file ends within its header; copy the file again")
    length, crc = HEADER.unpack(header)
    if masked(google_crc32c.value(header[:8])) != crc:
        raise Malformed(
            f"the length of record {number} is damaged (its checksum is wrong), so neither it nor any record after it "
            f"can be found: {left:,} bytes from byte {at:,} on are lost; copy the file again"
        )
    there = max(0, left - HEADER.size)
    if length + FOOTER.size > there:
        raise Malformed(
            f"record {number} is cut short: it claims {length:,} bytes and {there:,} are there; copy the file again"
        )
    return int(length)
