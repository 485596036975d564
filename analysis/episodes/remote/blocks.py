"""A folder of fetched blocks, bounded in bytes: what was used longest ago goes first.

A block is a file that is written once, so readers need no lock, and one that is gone is fetched again.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from models.errors import UserError

BLOCK_BYTES = 1 << 16
CACHE_BYTES = 20 << 30  # unless the workspace says another size
KEPT_SHARE = 0.8  # of the limit, after blocks were dropped
SEEN_SECONDS = 60.0  # a block's time of use is written down no more often


class BlockCache:
    """Blocks at ``folder``, shared by all threads and processes that name it."""

    def __init__(self, folder: Path, limit: int = CACHE_BYTES, block: int = 0) -> None:
        self.folder, self.limit, self.block = folder, limit, block or BLOCK_BYTES
        self._size: int | None = None  # bytes, as far as this process knows
        self._lock = threading.Lock()
        self._turns = tuple(threading.Lock() for _ in range(16))

    def path(self, key: str, number: int) -> Path:
        return self.folder / key[:2] / key / f"{number}"

    def read(self, key: str, size: int, start: int, stop: int, fetch: Callable[[int, int], bytes]) -> bytes:
        """The bytes [start, stop) of a file of ``size`` bytes; ``fetch`` gives what is not here.

        Raises UserError if that fails or nothing can be written.
        """
        start, stop = max(0, start), min(stop, size)
        if start >= stop:
            return b""
        numbers = range(start // self.block, (stop - 1) // self.block + 1)
        with self._turns[hash(key) % len(self._turns)]:
            found = {number: self._kept(key, number, size) for number in numbers}
            absent = [number for number in numbers if found[number] is None]
            for _, run in groupby(enumerate(absent), lambda pair: pair[1] - pair[0]):
                found |= self._fetched(key, [number for _, number in run], size, fetch)
        joined = b"".join(found[number] or b"" for number in numbers)
        return joined[start - numbers[0] * self.block : stop - numbers[0] * self.block]

    def _kept(self, key: str, number: int, size: int) -> bytes | None:
        path = self.path(key, number)
        try:
            with path.open("rb") as stream:
                data = stream.read()
                if time.time() - os.fstat(stream.fileno()).st_mtime > SEEN_SECONDS:
                    os.utime(path)
        except OSError:
            return None
        return data if len(data) == min(self.block, size - number * self.block) else None

    def _fetched(
        self, key: str, numbers: list[int], size: int, fetch: Callable[[int, int], bytes]
    ) -> dict[int, bytes | None]:
        begin = numbers[0] * self.block
        data = fetch(begin, min(size, (numbers[-1] + 1) * self.block))
        out: dict[int, bytes | None] = {}
        for number in numbers:
            out[number] = data[number * self.block - begin : (number + 1) * self.block - begin]
            self._keep(self.path(key, number), out[number] or b"")
        return out

    def _keep(self, path: Path, data: bytes) -> None:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise UserError(f"fetched data cannot be kept in {self.folder}: {error.strerror}") from None
        with self._lock:
            if self._size is None:
                self._size = sum(size for _, size, _ in self._blocks())
            else:
                self._size += len(data)
            if self._size > self.limit:
                self._size = self._drop()

    def _drop(self) -> int:
        """Removes the blocks that were used longest ago; the bytes that are left."""
        blocks = sorted(self._blocks())
        left = sum(size for _, size, _ in blocks)
        for _, size, path in blocks:
            if left <= KEPT_SHARE * self.limit:
                break
            with suppress(OSError):
                os.unlink(path)
            left -= size
        return left

    def _blocks(self) -> list[tuple[float, int, str]]:
        """Time of use, bytes and path of each."""
        out = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):  # dropped by another process
                    status = os.stat(path)
                    out.append((status.st_mtime, status.st_size, path))
        return out
