"""How deep JSON is nested, counted ahead of the parser: ijson's memory grows with the square of the depth."""

from __future__ import annotations

import re

import numpy as np

STRUCTURE = b'"[]{}'
OTHERS = bytes(set(range(256)) - set(STRUCTURE))
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as int8: one level in, one level out
ESCAPE = re.compile(rb"\\.", re.DOTALL)


class JsonNesting:
    """Fed with the bytes of one document in any portions, it knows how deep they are nested."""

    def __init__(self) -> None:
        self._depth = 0
        self.in_string = False  # what is fed next begins within a string
        self._held = b""  # a backslash whose escaped character comes with the next portion

    @property
    def escaped(self) -> bool:
        """Whether what is fed next begins right behind a backslash."""
        return bool(self._held)

    def deepest(self, portion: bytes) -> int:
        """The greatest number of open brackets and braces, outside strings, anywhere in ``portion``."""
        text = self._held + portion
        self._held = b"\\" if (len(text) - len(text.rstrip(b"\\"))) % 2 else b""
        text = text[: len(text) - len(self._held)]
        if b"\\" in text:
            text = ESCAPE.sub(b"", text)
        parts = text.translate(None, OTHERS).split(b'"')
        outside = b"".join(parts[self.in_string :: 2])
        self.in_string ^= len(parts) % 2 == 0
        if not outside:
            return self._depth
        depths = self._depth + np.cumsum(np.frombuffer(outside.translate(STEPS), np.int8), dtype=np.int64)
        before, self._depth = self._depth, int(depths[-1])
        return max(before, int(depths.max()))
