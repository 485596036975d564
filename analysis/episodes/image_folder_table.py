"""A table of numbers over time, from CSV or from lists: its columns by name and unit, time and counters apart."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.image_folder_files import MAX_BYTES
from analysis.episodes.image_folder_frames import LFS_POINTER
from analysis.episodes.links import stays_inside
from models.errors import UserError

TIMES = ("time", "timestamp", "t", "time_s")  # columns of time, as they are called
SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # by unit of time
COUNTERS = ("step", "frame", "frame_index", "index", "episode_index")  # columns that only number the rows
MAX_STEPS = 1_000_000
MAX_COLUMNS = 1_000
COLUMN = re.compile(r"^\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*$")


@dataclass(frozen=True)
class Table:
    """Numbers over time, and what each column is."""

    values: Float[np.ndarray, "T C"]  # units: those of ``units``, column by column
    names: tuple[str, ...]
    units: tuple[str, ...]
    seconds: Float[np.ndarray, " T"] | None = None  # from any zero; None if there is no column of time


def split(table: Table) -> tuple[Table, Table | None]:
    """Actions and states, where the names of the columns say that a table has both; else the table as it is."""
    stated = [name.lower().startswith(("state", "observation")) for name in table.names]
    if not any(stated) or not any(name.lower().startswith("action") for name in table.names):
        return table, None
    actions, states = ([at for at, is_state in enumerate(stated) if is_state is wanted] for wanted in (False, True))
    return _columns(table, actions), _columns(table, states)


def csv_table(path: Path, kind: str, root: Path) -> Table:
    """A CSV file with names in its header; ``kind``: action or state. Raises UserError for the first thing wrong."""
    where = f"{path.parent.name}/{path.name}"
    try:
        cells = [row for row in csv.reader(text_of(path, root).splitlines()) if row]
    except csv.Error as error:
        raise UserError(f"{where} is no CSV: {error}") from None
    if not cells:
        raise UserError(f"{where} is empty; expected a header such as x [m],gripper [open]")
    return checked_table(cells[1:], [_column(cell, path) for cell in cells[0]], where, kind)


def checked_table(rows: Sequence[Sequence[Any]], columns: Sequence[tuple[str, str]], where: str, kind: str) -> Table:
    """Rows of numbers as a table. Raises UserError for the first thing wrong, beginning with the phrase ``where``."""
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
    table = Table(values.astype(np.float32), tuple(names), tuple(unit for _, unit in columns))
    return replace(_columns(table, kept), seconds=_seconds(values, columns, where))


def text_of(path: Path, root: Path) -> str:
    """What a file holds. Raises UserError if it cannot be read, is too large, or is a link out of ``root``."""
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


def _columns(table: Table, kept: Sequence[int]) -> Table:
    return Table(
        table.values[:, kept],
        tuple(table.names[index] for index in kept),
        tuple(table.units[index] for index in kept),
        table.seconds,
    )


def _column(cell: str, path: Path) -> tuple[str, str]:
    found = COLUMN.match(cell)
    if found is None or re.fullmatch(r"[-+.\deE]+", found["name"]):
        raise UserError(
            f"{path.parent.name}/{path.name} has the column {cell!r}; expected a header of names and units such as"
            " x [m]"
        )
    return found["name"], found["unit"] or ""


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
