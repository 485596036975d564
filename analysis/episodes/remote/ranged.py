"""A remote file as Python reads files: blocks are fetched when they are read, the last few stay in memory."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable

KEPT = 16  # blocks in memory


class RangedFile(io.RawIOBase):
    """``read`` gives the bytes [start, stop) of a file of ``size`` bytes. For one thread at a time."""

    def __init__(self, size: int, block: int, read: Callable[[int, int], bytes]) -> None:
        self.size = size
        self.failure: Exception | None = None  # the last; libraries in C turn it into something else
        self._block, self._read, self._at = block, read, 0
        self._recent: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence])
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.pread(len(view), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def pread(self, size: int, offset: int) -> bytes:
        stop = min(offset + size, self.size)
        if offset >= stop:
            return b""
        number = offset // self._block
        if (stop - 1) // self._block != number:
            return self._fetch(offset, stop)
        if number not in self._recent:
            begin = number * self._block
            self._recent[number] = self._fetch(begin, min(begin + self._block, self.size))
            if len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        self._recent.move_to_end(number)
        begin = number * self._block
        return self._recent[number][offset - begin : stop - begin]

    def _fetch(self, start: int, stop: int) -> bytes:
        try:
            return self._read(start, stop)
        except Exception as error:
            self.failure = error
            raise
