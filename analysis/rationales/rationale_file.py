"""Rationales as JSON lines: one object a rationale, with who wrote it, how and when. Layout: docs/annotate.md."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.types import Rationale

SUFFIX = ".jsonl"
ASIDE = ".aside.jsonl"  # answers that could not be used, with the reason
LONGEST_LINE = 1 << 20  # bytes


@dataclass(frozen=True)
class KeptRationale:
    """One line."""

    episode: str  # id
    digest: str  # of the episode when it was explained; "": not known
    rationale: Rationale
    origin: Mapping[str, str] = field(default_factory=dict)  # model, prompt hash, teacher ...
    time: str = ""  # UTC, ISO 8601

    @property
    def signed(self) -> str:
        """The author with all that is known of how it came about, as it is shown and written into copies."""
        author = self.rationale.author
        told = [self.origin[key] for key in ("model", "teacher") if self.origin.get(key, author) != author]
        told += [f"prompt {self.origin['prompt']}"] if "prompt" in self.origin else []
        told += [f"per {self.origin['per']}"] if "per" in self.origin else []
        told += [self.time] if self.time else []
        return f"{author} ({', '.join(told)})" if told else author

    def as_json(self) -> dict[str, Any]:
        said = self.rationale
        return {
            "episode": self.episode, "digest": self.digest, "start": said.start, "stop": said.stop,
            "parts": dict(said.parts), "author": said.author, "origin": dict(self.origin), "time": self.time,
        }  # fmt: skip


class RationaleFile:
    """Appends whole lines; several threads may. A line that a kill cut short is dropped when it is opened again."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_cut_line(path)

    def add(self, line: Mapping[str, Any]) -> None:
        data = line_of(line)
        with self._lock, self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def line_of(values: Mapping[str, Any]) -> bytes:
    """One line of JSON, readable in any language; half a sign (a lone surrogate) is left as its escape."""
    return (json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def read_rationales(path: Path) -> tuple[KeptRationale, ...]:
    """All lines. Raises UserError that names the first line in another layout; a cut last line is left out."""
    found = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break  # somebody is writing it, or was killed while writing
                found.append(_parsed(line, f"{path}, line {number}"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return tuple(found)


def _parsed(line: bytes, where: str) -> KeptRationale:
    if len(line) > LONGEST_LINE:
        raise UserError(f"{where} is {len(line)} bytes long; at most {LONGEST_LINE} are read")
    try:
        stored = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{where} is no JSON; expected one object with episode, start, stop and parts") from None
    if not isinstance(stored, dict):
        raise UserError(f"{where} holds no object; expected one with episode, start, stop and parts")
    parts, start, stop = stored.get("parts"), stored.get("start"), stored.get("stop")
    texts = isinstance(parts, dict) and parts and all(isinstance(text, str) for text in parts.values())
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (start, stop))
    if not texts or not isinstance(stored.get("episode"), str):
        raise UserError(f"{where} lacks parts or an episode; expected texts by part, and the episode's id")
    if not whole or not 0 <= start < stop:  # type: ignore[operator]
        raise UserError(f"{where} covers steps [{start}, {stop}); expected whole numbers, the first below the second")
    origin = stored.get("origin") if isinstance(stored.get("origin"), dict) else {}
    rationale = Rationale(dict(parts), start, stop, str(stored.get("author", "")))  # type: ignore[arg-type]
    kept = {str(key): str(value) for key, value in (origin or {}).items()}
    return KeptRationale(stored["episode"], str(stored.get("digest", "")), rationale, kept, str(stored.get("time", "")))


def _drop_cut_line(path: Path) -> None:
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        part = path.with_suffix(path.suffix + ".part")
        part.write_bytes(whole)
        part.replace(path)
