"""Answers kept by what was asked, so that asking again costs nothing."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KeptAnswer:
    text: str
    tokens_in: int
    tokens_out: int
    time: str  # UTC, ISO 8601, when it was given


class AnswerCache:
    """One small file an answer, whole or absent. Holds no key and no address."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None

    @staticmethod
    def key(asked: Any) -> str:
        """sha256 of the request as JSON."""
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def get(self, key: str) -> KeptAnswer | None:
        """None where there is none, or a file that something damaged: then it is asked again."""
        if self._folder is None:
            return None
        try:
            return KeptAnswer(**json.loads(self._path(key).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def put(self, key: str, answer: KeptAnswer) -> None:
        if self._folder is None:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(asdict(answer), file)
        os.replace(part, path)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.json"
