"""What must hold after any stress."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from analysis.review import ReviewStore
from tests.stress.annotator import judgement


@dataclass(frozen=True)
class Found:
    """Figures of one run."""

    acknowledged: int  # rows that a process was told are stored
    stored: int  # rows in the database
    counting: int  # reviews that count
    full_items: int  # items with all their annotators


def check_store(address: str, project: str, logs: Iterable[Path]) -> Found:
    """Raises AssertionError if an acknowledged row is missing, one is there twice, or an item is over its overlap."""
    store = ReviewStore.open(address)
    rows = store.review_history(project)
    acknowledged = dict(line.split() for log in logs for line in log.read_text().splitlines())
    count = Counter(row.id for row in rows)
    assert all(number == 1 for number in count.values()), "a review is there twice"
    by_id = {row.id: row for row in rows}
    assert not (lost := acknowledged.keys() - by_id.keys()), f"{len(lost)} acknowledged rows are lost"
    for id, item in acknowledged.items():
        row = by_id[id]
        assert row.item == item, "a review is at another item"
        if row.judgement is not None:
            said = judgement(item, row.annotator)
            assert (row.judgement.comment, row.judgement.overall) == (said.comment, said.overall)
    overlap = {item.id: item.overlap for item in store.items(project)}
    _check_overlap(rows, overlap)
    standing = store.reviews(project)
    assert len({(one.item, one.annotator) for one in standing}) == len(standing), "an annotator counts twice on an item"
    told = store.progress(project)
    assert told.reviews == len(standing), "the places do not tell what the reviews tell"
    return Found(len(acknowledged), len(rows), len(standing), told.done)


def _check_overlap(rows, overlap: dict[str, int]) -> None:
    """At no moment had an item more reviews that counted than it may have."""
    who: dict[str, set[str]] = {}
    for row in rows:
        present = who.setdefault(row.item, set())
        (present.discard if row.judgement is None else present.add)(row.annotator)
        assert len(present) <= overlap[row.item], f"item {row.item} has {len(present)} annotators"


def check_sqlite(path: Path) -> None:
    """Raises AssertionError if SQLite finds anything wrong with its file."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
