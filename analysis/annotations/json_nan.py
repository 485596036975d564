"""Python's NaN and Infinity, which JSON has not, as null: json.dump writes them, and a strict parser ends there."""

from __future__ import annotations

import re

INSIDE = rb'[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'  # of a string, to its end or that of the portion
REST = re.compile(INSIDE, re.DOTALL)
TOKEN = re.compile(rb'"' + INSIDE + rb"|-?\b(?:NaN|Infinity)\b", re.DOTALL)
LETTERS = b"-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
LONGEST = len(b"-Infinity")


class NanAsNull:
    """Fed with the bytes of one document in any portions. What may be half a word is kept for the next one."""

    def __init__(self) -> None:
        self.kept = b""

    def __call__(self, portion: bytes, in_string: bool, escaped: bool) -> bytes:
        """``in_string``: the portion begins within a string; ``escaped``: right behind a backslash in it."""
        text = self.kept + portion
        end = text[-LONGEST:]
        whole = len(text) - len(end) + len(end.rstrip(LETTERS))
        text, self.kept = text[:whole], text[whole:]
        if b"NaN" not in text and b"Infinity" not in text:
            return text
        rest = REST.match(text, int(escaped)) if in_string else None
        start = rest.end() if rest else 0
        return text[:start] + TOKEN.sub(lambda found: found[0] if found[0][:1] == b'"' else b"null", text[start:])
