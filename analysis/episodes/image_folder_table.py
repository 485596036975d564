"""The JSON and CSV files of an image folder: what the episode is about, its actions and its states."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.links import stays_inside
from models.errors import UserError
from models.types import Rationale

DESCRIPTION, ACTIONS, STATES = "episode.json", "actions.csv", "states.csv"
TIMES = ("time", "timestamp", "t", "time_s")  # columns of time, as they are called
SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # by unit of time
COUNTERS = ("step", "frame", "frame_index", "index", "episode_index")  # columns that only number the rows
LFS_POINTER = b"version https://git-lfs"
MAX_BYTES = 100_000_000
MAX_STEPS = 1_000_000
MAX_COLUMNS = 1_000
COLUMN = re.compile(r"^\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*$")
TEXTS = ("instruction", "task", "robot")


@dataclass(frozen=True)
class Table:
    """Numbers over time, and what each column is."""

    values: Float[np.ndarray, "T C"]  # units: those of ``units``, column by column
    names: tuple[str, ...]
    units: tuple[str, ...]
    seconds: Float[np.ndarray, " T"] | None = None  # from any zero; None if there is no column of time


@dataclass(frozen=True)
class Described:
    """Everything about an episode but its frames."""

    actions: Table
    states: Table | None
    instruction: str
    task: str
    robot: str
    fps: float  # frames a second
    success: bool | None
    rationales: tuple[Rationale, ...]


def read_described(folder: Path, root: Path) -> Described:
    """Reads the tables of an episode's folder. Raises UserError with one sentence for the first thing wrong."""
    said = _description(folder, root)
    actions = _table(folder / ACTIONS, said, "action", root)
    if actions is None:
        raise UserError(f"{folder.name} has no actions; expected {ACTIONS}, or 'actions' in {DESCRIPTION}")
    if not len(actions.values):
        raise UserError(f"{folder.name} has zero steps; an episode needs at least one")
    states = _table(folder / STATES, said, "state", root)
    if states is not None and len(states.values) != len(actions.values):
        raise UserError(
            f"lengths disagree in {folder.name}: there are {len(states.values)} states and {len(actions.values)} "
            "actions"
        )
    for key in TEXTS:
        if not isinstance(said.get(key, ""), str):
            raise UserError(f"{key!r} in {folder.name}/{DESCRIPTION} is {said[key]!r}; expected a text")
    success = said.get("success")
    if success not in (None, True, False):
        raise UserError(f"'success' in {folder.name}/{DESCRIPTION} is {success!r}; expected true, false or null")
    return Described(
        actions=actions,
        states=states,
        instruction=said.get("instruction", ""),
        task=said.get("task", ""),
        robot=said.get("robot", ""),
        fps=_fps(said.get("fps"), actions, folder),
        success=None if success is None else bool(success),
        rationales=_rationales(said.get("rationales", []), len(actions.values), folder),
    )


def _description(folder: Path, root: Path) -> Mapping[str, Any]:
    path = folder / DESCRIPTION
    if not path.exists():
        return {}
    try:
        found = json.loads(_text(path, root))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder.name}/{DESCRIPTION} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{folder.name}/{DESCRIPTION} holds {type(found).__name__}; expected an object")
    return found


def _table(path: Path, said: Mapping[str, Any], kind: str, root: Path) -> Table | None:
    if path.exists():
        if said.get(f"{kind}s") is not None:
            raise UserError(f"{path.parent.name} has {kind}s twice, in {path.name} and in {DESCRIPTION}; leave one out")
        try:
            cells = [row for row in csv.reader(_text(path, root).splitlines()) if row]
        except csv.Error as error:
            raise UserError(f"{path.parent.name}/{path.name} is no CSV: {error}") from None
        if not cells:
            raise UserError(f"{path.parent.name}/{path.name} is empty; expected a header such as x [m],gripper [open]")
        columns = [_column(cell, path) for cell in cells[0]]
        return _checked(cells[1:], columns, f"{path.parent.name}/{path.name}", kind)
    if said.get(f"{kind}s") is None:
        return None
    where = f"{kind}s in {path.parent.name}/{DESCRIPTION}"
    rows, names, units = (said.get(key) for key in (f"{kind}s", f"{kind}_names", f"{kind}_units"))
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise UserError(f"{where} are no list of lists; expected one list of numbers a step")
    if not isinstance(names, list) or not isinstance(units, list) or len(names) != len(units):
        raise UserError(f"{where} lack {kind}_names and {kind}_units; expected two lists of texts of the same length")
    return _checked(rows, [(str(name), str(unit)) for name, unit in zip(names, units, strict=True)], where, kind)


def _column(cell: str, path: Path) -> tuple[str, str]:
    found = COLUMN.match(cell)
    if found is None or re.fullmatch(r"[-+.\deE]+", found["name"]):
        raise UserError(
            f"{path.parent.name}/{path.name} has the column {cell!r}; expected a header of names and units such as"
            " x [m]"
        )
    return found["name"], found["unit"] or ""


def _checked(rows: Sequence[Sequence[Any]], columns: Sequence[tuple[str, str]], where: str, kind: str) -> Table:
    if len(rows) > MAX_STEPS or len(columns) > MAX_COLUMNS:
        raise UserError(f"{where} has {len(rows)} rows and {len(columns)} columns; at most {MAX_STEPS} x {MAX_COLUMNS}")
    names = [name for name, _ in columns]
    if len(set(names)) != len(names):
        raise UserError(f"{where} names a column twice; expected names that differ, found {', '.join(names)[:200]}")
    values = np.zeros((len(rows), len(columns)))
    for step, row in enumerate(rows):
        if len(row) != len(columns):
            raise UserError(
                f"{where} has {len(row)} values at step {step}; expected {len(columns)}, as there are names"
            )
        try:
            values[step] = [float(value) for value in row]
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{where} holds something that is no number at step {step}: {str(row)[:80]}") from None
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        step, column = (int(index) for index in bad[0])
        raise UserError(
            f"{where} has {len(bad)} {kind}s that are no finite number; the first is {values[step, column]} at step "
            f"{step}, dimension {names[column]!r}"
        )
    kept = [index for index, name in enumerate(names) if name.lower() not in TIMES + COUNTERS]
    if not kept:
        raise UserError(f"{where} has no column besides {', '.join(names)}; expected one a dimension")
    return Table(
        values[:, kept].astype(np.float32),
        tuple(names[index] for index in kept),
        tuple(columns[index][1] for index in kept),
        _seconds(values, columns, where),
    )


def _seconds(
    values: Float[np.ndarray, "T C"], columns: Sequence[tuple[str, str]], where: str
) -> Float[np.ndarray, " T"] | None:
    """The first column of time, in seconds; not rounded, as it may count from 1970."""
    for index, (name, unit) in enumerate(columns):
        if name.lower() in TIMES:
            if unit not in SECONDS:
                raise UserError(f"{where} has the time in {unit!r}; expected one of {', '.join(filter(None, SECONDS))}")
            return values[:, index] * SECONDS[unit]
    return None


def _fps(stated: object, actions: Table, folder: Path) -> float:
    if stated is None and actions.seconds is not None and len(actions.seconds) > 1:
        stated = 1 / step if (step := float(np.median(np.diff(actions.seconds)))) > 0 else 0.0
    if stated is None:
        raise UserError(
            f"{folder.name} does not say its frame rate; expected 'fps' in {DESCRIPTION}, or a column time [s] in"
            f" {ACTIONS}"
        )
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 100_000:
        raise UserError(f"{folder.name} says {stated!r} frames a second; expected a positive number")
    return float(stated)


def _rationales(found: object, length: int, folder: Path) -> tuple[Rationale, ...]:
    where = f"{folder.name}/{DESCRIPTION}"
    if not isinstance(found, list):
        raise UserError(f"'rationales' in {where} is no list; expected objects with start, stop and parts")
    return tuple(_rationale(entry, length, f"rationale {index} in {where}") for index, entry in enumerate(found))


def _rationale(entry: object, length: int, which: str) -> Rationale:
    given: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    start, stop, parts = given.get("start"), given.get("stop"), given.get("parts")
    if type(start) is not int or type(stop) is not int or not isinstance(parts, dict) or not any(parts.values()):
        raise UserError(f"{which} lacks start and stop (whole numbers) or parts (texts by name)")
    if not all(isinstance(said, str) for said in parts.values()):
        raise UserError(f"{which} has parts that are no text")
    if not 0 <= start < stop <= length:
        raise UserError(f"{which} covers steps [{start}, {stop}) of {length}")
    return Rationale(parts, start=start, stop=stop, author=str(given.get("author", "")))


def _text(path: Path, root: Path) -> str:
    if path.is_symlink() and not stays_inside(path, root):
        raise UserError(f"{path.parent.name}/{path.name} is a link that leads out of {root}; put the file itself there")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path.parent.name}/{path.name} has {size:,} bytes; at most {MAX_BYTES:,} are read")
        content = read_bytes(path)
        if content.startswith(LFS_POINTER):
            raise UserError(f"{path.parent.name}/{path.name} is a Git LFS pointer, not the file; run: git lfs pull")
        return content.decode("utf-8-sig", "replace")
    except OSError as error:
        raise UserError(f"{path.parent.name}/{path.name} cannot be read: {error.strerror}") from None
