"""LeRobot's language columns as rationales.

``language_persistent`` repeats the rows of an episode on every step; each holds from its time until the next of the
same style. ``language_events`` has rows for the one step on which they stand. Both together are cut where anything
changes, so that one rationale has all that holds at a step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from analysis.episodes.lerobot_info import IMAGES
from analysis.episodes.lerobot_paths import clean
from analysis.episodes.lerobot_rows import check_columns, groups_with, reading
from models.errors import UserError
from models.types import Rationale

TOLERANCE = 1e-4  # seconds; times of rows are float32
MAX_ROWS = 100_000  # language rows of one episode
MAX_TEXT = 100_000  # characters of one row
FIRST = ("plan", "subtask", "memory", "motion")  # the order in which parts are shown; the others follow as they come


@dataclass(frozen=True)
class LanguageRow:
    part: str  # what a rationale calls it: "subtask", "vqa question @ top"
    content: str
    step: int  # first step that it holds for
    lasting: bool  # until the next of the same part; otherwise for one step


@dataclass(frozen=True)
class Flags:
    """What one pass over a file tells of an episode in it."""

    success: bool | None
    has_rationale: bool


def read_rationales(
    table: pa.Table, columns: Sequence[str], times: Float[np.ndarray, " T"], path: Path
) -> tuple[Rationale, ...]:
    """The language rows of one episode, cut into rationales. Raises UserError for rows that are not understood."""
    rows: list[LanguageRow] = []
    for column in columns:
        lasting = column == "language_persistent"
        for step, given in _filled(table.column(column), column, path, first_only=lasting):
            start = step
            for row in given:
                if lasting:
                    start = _first_step(row.get("timestamp"), times, path)
                if ((content := _content(row)) or lasting) and start < len(times):  # an empty row ends what held
                    rows.append(LanguageRow(_part(row), content, start, lasting))
        if len(rows) > MAX_ROWS:
            raise UserError(
                f"{path.name} has {len(rows):,} language rows in one episode; at most {MAX_ROWS:,} are read"
            )
    return tuple(combined(rows, len(times)))


def combined(rows: Sequence[LanguageRow], length: int) -> Iterable[Rationale]:
    """Rationales that do not overlap, in order; a step with no language row has none."""
    begins: dict[int, dict[str, str]] = {}
    events: dict[int, dict[str, str]] = {}
    for row in rows:
        parts = (begins if row.lasting else events).setdefault(row.step, {})
        parts[row.part] = "\n".join(said for said in (parts.get(row.part), row.content) if said)
    cuts = {0, length, *begins, *events, *(step + 1 for step in events)}
    active: dict[str, str] = {}
    for start, stop in pairwise(sorted(cuts)):
        active |= begins.get(start, {})
        parts = {part: said for part, said in (active | events.get(start, {})).items() if said}
        if parts:
            known = [part for part in FIRST if part in parts]
            yield Rationale({part: parts[part] for part in (*known, *parts)}, start, stop)


@lru_cache(maxsize=131_072)
def file_flags(
    path: Path,
    stamp: tuple[int, int],
    success: tuple[str, ...],
    language: tuple[str, ...],
    shared: bool,
    wanted: tuple[int, int] | None = None,
) -> Mapping[int, Flags]:
    """Success and presence of rationales for each episode of a file (0 where the file holds but one).

    Where ``wanted`` is given, of those with rows in [first, stop).

    One pass in small batches, kept by size and modification time; raises UserError for a damaged file.
    """
    done: dict[int, bool] = {}
    said: set[int] = set()
    with reading(path) as file:
        names = [*success, *language, *(("episode_index",) if shared else ())]
        groups = groups_with(file, wanted)
        check_columns(file, names, groups, path)
        for batch in file.iter_batches(batch_size=256, row_groups=groups, columns=names, use_threads=False):
            table = pa.Table.from_batches([batch])
            episodes = (
                table.column("episode_index").to_numpy().astype(np.int64) if shared else np.zeros(len(table), np.int64)
            )
            for episode in np.unique(episodes).tolist():
                done.setdefault(episode, False)
            for column in success:
                for episode in np.unique(episodes[_truth(table.column(column), column, path)]).tolist():
                    done[episode] = True
            for column in language:
                said |= {
                    int(episodes[row])
                    for row, given in _filled(table.column(column), column, path, False)
                    if int(episodes[row]) not in said and any(_content(entry) for entry in given)
                }
    return {episode: Flags(won if success else None, episode in said) for episode, won in done.items()}


def _filled(
    column: pa.ChunkedArray, name: str, path: Path, first_only: bool
) -> Iterable[tuple[int, list[dict[str, Any]]]]:
    """The steps whose list is not empty, with the list."""
    kind = column.type
    if pa.types.is_null(getattr(kind, "value_type", kind)):  # no step of the file has a row: writers infer no type then
        return
    if not ((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_struct(kind.value_type)):
        raise UserError(f"column {name!r} of {path.name} holds {str(kind)[:100]}; expected lists of language rows")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    steps = np.flatnonzero(lengths)
    for step in steps[:1] if first_only else steps:
        try:
            rows = column[int(step)].as_py()
        except ValueError as error:  # bytes that are no UTF-8
            raise UserError(f"column {name!r} of {path.name} cannot be read: {error}") from None
        yield int(step), [row for row in rows if row is not None]


def _truth(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        if pc.min_max(pc.list_value_length(column)).as_py() != {"min": 1, "max": 1}:
            raise UserError(f"column {name!r} of {path.name} has rows of other than one value")
        column = pc.list_flatten(column)
    if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UserError(f"column {name!r} of {path.name} holds {column.type}; expected true or false")
    return np.asarray(
        pc.fill_null(column.cast(pa.float64()) if not pa.types.is_boolean(column.type) else column, False)
    ).astype(bool)


def _first_step(time: Any, times: np.ndarray, path: Path) -> int:
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise UserError(f"a language row of {path.name} has the timestamp {time!r}; expected seconds")
    return int(np.searchsorted(times, time - TOLERANCE))


def _part(row: Mapping[str, Any]) -> str:
    """The style, with who asks and on which camera where that matters."""
    style = row.get("style") or ("speech" if row.get("tool_calls") else "remark")
    name = clean(str(style))[:100]
    if row.get("role") == "user" and name == "vqa":
        name = "vqa question"
    camera = row.get("camera")
    return f"{name} @ {clean(str(camera)).removeprefix(IMAGES)}" if camera else name


def _content(row: Mapping[str, Any]) -> str:
    """The text, or what a tool is called to say."""
    content = row.get("content")
    if isinstance(content, str) and content.strip():
        return clean(content[:MAX_TEXT])
    return "\n".join(said for call in row.get("tool_calls") or () if (said := _spoken(call)))


def _spoken(call: Any) -> str:
    try:
        given = json.loads(call) if isinstance(call, str | bytes) else call
        arguments = given["function"]["arguments"]
        text = (json.loads(arguments) if isinstance(arguments, str) else arguments)["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return clean(text[:MAX_TEXT]) if isinstance(text, str) else ""
