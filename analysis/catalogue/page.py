"""What a query gives: one page of the episodes that pass a filter, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.catalogue.database import Damaged
from analysis.catalogue.filter import Filter, Order, conditions, ordering
from analysis.catalogue.rows import entry_of, split_names
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta

# the newest complete scan of each data set, or the newest where none is complete
STATES = """SELECT dataset, stamp, complete FROM scans AS one WHERE NOT EXISTS (
    SELECT 1 FROM scans AS other WHERE other.dataset = one.dataset
    AND (other.complete, other.scan) > (one.complete, one.scan))"""


@dataclass(frozen=True)
class IndexedEpisode:
    dataset: str
    entry: EpisodeMeta | BrokenEpisode


@dataclass(frozen=True)
class Page:
    """Some of the episodes that were asked for."""

    entries: tuple[IndexedEpisode, ...]
    total: int  # how many there are on all pages


def shown_scans(connection: sqlite3.Connection, datasets: Sequence[str]) -> dict[int, str]:
    """The scans whose episodes are listed, and their data sets; all data sets unless some are named."""
    rows = connection.execute(STATES.replace("stamp, complete", "scan", 1)).fetchall()
    return {scan: dataset for dataset, scan in rows if not datasets or dataset in datasets}


def where_of(filter: Filter, shown: Mapping[int, str]) -> tuple[str, list[Any]]:
    """A WHERE expression over the table ``episodes``, and its arguments."""
    where, given = conditions(filter)
    return f"scan IN ({', '.join(str(scan) for scan in shown)}) AND {where}", given


def splits_in(connection: sqlite3.Connection, datasets: Sequence[str]) -> tuple[str, ...]:
    """The names of all splits, in alphabetical order."""
    scans = ", ".join(str(scan) for scan in shown_scans(connection, datasets))
    found = connection.execute(f"SELECT DISTINCT splits FROM episodes WHERE scan IN ({scans}) AND splits IS NOT NULL")
    return tuple(sorted({name for (joined,) in found for name in split_names(joined)}))


def page_of(connection: sqlite3.Connection, filter: Filter, order: Order, size: int, start: int) -> Page:
    """``size`` of the episodes that pass ``filter``, from number ``start`` on."""
    connection.execute("BEGIN")  # all queries see the same state
    shown = shown_scans(connection, filter.datasets)
    where, given = where_of(filter, shown)
    (total,) = connection.execute(f"SELECT count(*) FROM episodes WHERE {where}", given).fetchone()
    by = ordering(order, _place_of_dataset(shown))
    rows = connection.execute(
        f"SELECT episode, scan FROM episodes WHERE {where} ORDER BY {by} LIMIT ? OFFSET ?", [*given, size, start]
    ).fetchall()
    return Page(entries_of(connection, rows, shown), total)


def _place_of_dataset(shown: Mapping[int, str]) -> str:
    """An SQL expression: the place of a row's data set among the names in alphabetical order."""
    if len(shown) < 2:
        return "scan"
    scans = sorted(shown, key=lambda scan: shown[scan].casefold())
    return f"CASE scan {' '.join(f'WHEN {scan} THEN {place}' for place, scan in enumerate(scans))} END"


def entries_of(
    connection: sqlite3.Connection, rows: Sequence[tuple[int, int]], shown: Mapping[int, str]
) -> tuple[IndexedEpisode, ...]:
    """The whole values of (episode, scan) rows. Raises Damaged for a value that was not written here."""
    read = connection.cursor()
    try:
        return tuple(
            IndexedEpisode(
                shown[scan],
                entry_of(read.execute("SELECT content FROM contents WHERE episode = ?", (episode,)).fetchone()[0]),
            )
            for episode, scan in rows
        )
    except (ValueError, TypeError, KeyError):
        raise Damaged from None
