"""Episodes as rows: the columns that are searched and sorted, and the whole value beside them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from analysis.episodes import BrokenEpisode
from analysis.episodes.splits import splits_of
from analysis.types import EpisodeMeta

TUPLES = {entry.name for entry in fields(EpisodeMeta) if str(entry.type).startswith("tuple")}
BREAK = "\n"  # around the name of a split
NUMBER = re.compile(r"\d[\d,._]*")


def columns(entry: EpisodeMeta | BrokenEpisode) -> dict[str, Any]:
    """What the table ``episodes`` holds of one entry; a broken one has no length and no success."""
    if isinstance(entry, BrokenEpisode):
        name = Path(entry.path).name
        return _texts({"id": name, "broken": entry.reason, "kind": kind(entry)}) | {
            "instruction": None,
            "task": None,
            "robot": None,
            "length": None,
            "duration": None,
            "success": None,
            "has_rationale": None,
            "splits": None,
        }
    return _texts({"id": entry.id, "instruction": entry.instruction, "task": entry.task, "robot": entry.robot}) | {
        "broken": None,
        "kind": None,
        "length": entry.length,
        "duration": entry.length / entry.fps if entry.fps else None,
        "success": entry.success,
        "has_rationale": entry.has_rationale,
        "splits": _joined(splits_of(entry)),
    }


def in_split(name: str) -> str:
    """What the column ``splits`` holds somewhere of an episode that is in this one."""
    return f"{BREAK}{as_text(name)}{BREAK}"


def split_names(joined: str) -> list[str]:
    """The names in a value of the column ``splits``."""
    return joined.strip(BREAK).split(BREAK)


def _joined(names: tuple[str, ...]) -> str | None:
    """All of them with a break on either side; None where there is none."""
    return in_split(BREAK.join(names)) if names else None


def kind(entry: BrokenEpisode) -> str:
    """The reason without what differs from file to file, so that equal faults can be counted."""
    without_path = entry.reason.replace(entry.path, "a file").replace(Path(entry.path).name, "a file")
    return NUMBER.sub("N", without_path)


def content(entry: EpisodeMeta | BrokenEpisode) -> str:
    """The whole value as ASCII JSON, from which `entry_of` makes it again."""
    stored = asdict(entry)
    if isinstance(entry, EpisodeMeta):
        stored["extra"] = dict(entry.extra)
    return json.dumps(stored, separators=(",", ":"))


def entry_of(stored: str) -> EpisodeMeta | BrokenEpisode:
    """Raises ValueError, TypeError or KeyError for what `content` did not write."""
    values: dict[str, Any] = json.loads(stored)
    if "reason" in values:
        return BrokenEpisode(**values)
    lists = {name: tuple(values[name]) for name in TUPLES}
    return EpisodeMeta(**{**values, **lists})


def as_text(value: str) -> str:
    """Names of files may hold bytes that are no text; SQLite refuses them."""
    return value.encode("utf-8", "replace").decode()


def _texts(values: dict[str, str]) -> dict[str, Any]:
    return {name: as_text(value) for name, value in values.items()}
