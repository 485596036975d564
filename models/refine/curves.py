"""Training curves: one JSON object a line, as they arise. Reading them needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError

FILE = "curves.jsonl"


@dataclass
class CurveFile:
    """Appends; a resumed run first forgets what it will do again."""

    path: Path
    batch: int
    _kept: int = field(default=0, init=False)

    def forget_after(self, step: int) -> None:
        """Drop lines of steps after ``step``, and a last line that was cut short by a kill."""
        lines = read_curves(self.path) if self.path.exists() else []
        kept = [line for line in lines if line["step"] <= step]
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        part.replace(self.path)

    def add(self, step: int, values: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "samples": step * self.batch, **values}) + "\n")


def read_curves(path: Path) -> list[dict[str, Any]]:
    """Lines in order. A last line without its end is left out: the run may be writing it just now.

    Raises UserError for a file in another layout.
    """
    lines = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            stored = json.loads(line)
            wanted = isinstance(stored, dict) and isinstance(stored.get("step"), int)
        except ValueError:
            wanted = False
        if not wanted:
            raise UserError(f"{path}, line {number} is {line[:60]!r}; expected a JSON object with a step")
        lines.append(stored)
    return lines
