"""Rationales as rows of LeRobot's language columns, the reverse of `analysis.episodes.lerobot_language`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from analysis.episodes.lerobot_info import IMAGES, LANGUAGE_COLUMNS
from analysis.episodes.lerobot_language import read_rationales
from models.types import Rationale

PERSISTENT_ROW = pa.struct(
    [
        pa.field("role", pa.string()),
        pa.field("content", pa.string()),
        pa.field("style", pa.string()),
        pa.field("timestamp", pa.float32()),
        pa.field("camera", pa.string()),
        pa.field("tool_calls", pa.list_(pa.string())),
    ]
)
EVENT_ROW = pa.struct([field for field in PERSISTENT_ROW if field.name != "timestamp"])
EVENTS = ("vqa", "vqa question", "trace", "interjection", "speech", "remark")  # parts that hold for single steps


@dataclass(frozen=True)
class LanguageRows:
    persistent: list[dict[str, Any]]  # of the whole episode
    events: dict[int, list[dict[str, Any]]]  # step -> rows on it

    def column(self, name: str, start: int, stop: int) -> pa.Array:
        """The rows of steps [start, stop)."""
        if name == "language_persistent":
            return pa.array([self.persistent] * (stop - start), pa.list_(PERSISTENT_ROW))
        return pa.array([self.events.get(step, []) for step in range(start, stop)], pa.list_(EVENT_ROW))

    def read_back(self, times: Float32[np.ndarray, " T"]) -> tuple[Rationale, ...]:
        """What our reader makes of the columns. Raises UserError for more rows than it reads."""
        first = pa.array([self.persistent, *[[]] * (len(times) - 1)], pa.list_(PERSISTENT_ROW))
        table = pa.table(dict(zip(LANGUAGE_COLUMNS, (first, self.column("", 0, len(times))), strict=True)))
        return read_rationales(table, LANGUAGE_COLUMNS, times.astype(np.float64), Path("the episode"))


def language_rows(
    rationales: Sequence[Rationale], times: Float32[np.ndarray, " T"], cameras: Sequence[str]
) -> LanguageRows:
    """A lasting row where a part begins, an empty one where nothing follows it; events on each of their steps."""
    persistent: list[dict[str, Any]] = []
    events: dict[int, list[dict[str, Any]]] = {}
    ends: set[tuple[int, str]] = set()
    for rationale in sorted(rationales, key=lambda one: one.start):
        for part, content in rationale.parts.items():
            if not content:
                continue
            if part.split(" @ ")[0] in EVENTS:
                for step in range(rationale.start, rationale.stop):
                    events.setdefault(step, []).append(_row(part, content, cameras))
                continue
            persistent.append(_row(part, content, cameras) | {"timestamp": times[rationale.start].item()})
            if rationale.stop < len(times) and not _goes_on(rationales, part, rationale.stop):
                ends.add((rationale.stop, part))
    for stop, part in sorted(ends):
        persistent.append(_row(part, "", cameras) | {"timestamp": times[stop].item()})
    return LanguageRows(sorted(persistent, key=lambda row: row["timestamp"]), events)


def _goes_on(rationales: Sequence[Rationale], part: str, step: int) -> bool:
    return any(one.start <= step < one.stop and one.parts.get(part) for one in rationales)


def _row(part: str, content: str, cameras: Sequence[str]) -> dict[str, Any]:
    style, at, camera = part.rpartition(" @ ")
    if not at or camera not in cameras:
        style, camera = part, ""
    row: dict[str, Any] = {"role": "assistant", "content": content, "style": style}
    row |= {"camera": f"{IMAGES}{camera}" if camera else None, "tool_calls": None}
    if style == "vqa question":
        row |= {"role": "user", "style": "vqa"}
    elif style == "interjection":
        row |= {"role": "user"}
    elif style == "speech":
        said = {"type": "function", "function": {"name": "say", "arguments": {"text": content}}}
        row |= {"content": None, "style": None, "tool_calls": [json.dumps(said)]}
    return row
