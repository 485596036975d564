"""Writes what a source's scan finds into the index."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from analysis.catalogue.rows import columns, content
from analysis.episodes import BrokenEpisode
from analysis.episodes.file_bytes import Unreachable
from analysis.types import EpisodeMeta
from models.errors import UserError

BATCH = 1000  # entries that are written together
FLUSH = 1.0  # seconds after which a slow scan's entries are written, so that they can be listed


@runtime_checkable
class Scanned(Protocol):
    """What is asked of an episode source here."""

    def scan(self) -> Iterable[EpisodeMeta | BrokenEpisode]: ...


def begin(connection: sqlite3.Connection, dataset: str, stamp: str) -> int:
    """The number of a new scan; what an interrupted one left of this data set is taken away."""
    sweep(connection, "DELETE FROM scans WHERE dataset = ? AND NOT complete", (dataset,))
    row = connection.execute(
        "INSERT INTO scans (dataset, stamp, complete) VALUES (?, ?, 0) RETURNING scan", (dataset, stamp)
    )
    return int(row.fetchone()[0])


def write_batches(
    connection: sqlite3.Connection,
    scan: int,
    source: Scanned,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> bool:
    """Writes everything that ``source`` lists, so that it can be read as it comes; False if cancelled."""
    done = 0
    for batch in _batches(source, cancelled):
        if batch is None:
            return False
        with _writing(connection):
            _insert(connection, scan, batch)
        done += len(batch)
        progress(done)
    return True


def finish(connection: sqlite3.Connection, scan: int, dataset: str) -> None:
    """From here on this scan's episodes are those of the data set."""
    with _writing(connection):
        connection.execute("UPDATE scans SET complete = 1 WHERE scan = ?", (scan,))
        connection.execute("DELETE FROM scans WHERE dataset = ? AND scan < ?", (dataset, scan))
    sweep(connection)


def sweep(connection: sqlite3.Connection, forget: str = "", given: tuple[Any, ...] = ()) -> None:
    """Runs ``forget``, which deletes scans, and takes away the rows of all scans that are not there any more."""
    gone = "SELECT episode FROM episodes WHERE scan NOT IN (SELECT scan FROM scans)"
    with _writing(connection):
        if forget:
            connection.execute(forget, given)
        connection.execute(f"DELETE FROM words WHERE rowid IN ({gone})")
        connection.execute(f"DELETE FROM contents WHERE episode IN ({gone})")
        connection.execute("DELETE FROM episodes WHERE scan NOT IN (SELECT scan FROM scans)")


def _insert(connection: sqlite3.Connection, scan: int, batch: Sequence[EpisodeMeta | BrokenEpisode]) -> None:
    (last,) = connection.execute("SELECT coalesce(max(episode), 0) FROM episodes").fetchone()
    rows = [{"episode": last + 1 + k, "scan": scan, **columns(entry)} for k, entry in enumerate(batch)]
    names = tuple(rows[0])
    connection.executemany(
        f"INSERT INTO episodes ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})", rows
    )
    connection.executemany(
        "INSERT INTO words (rowid, id, instruction, task) VALUES (:episode, :id, :instruction, :task)", rows
    )
    contents = ((row["episode"], content(entry)) for row, entry in zip(rows, batch, strict=True))
    connection.executemany("INSERT INTO contents VALUES (?, ?)", contents)


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _batches(source: Scanned, cancelled: Callable[[], bool]) -> Iterator[list[EpisodeMeta | BrokenEpisode] | None]:
    """What the scan finds, in portions; None and an end when cancelled."""
    batch: list[EpisodeMeta | BrokenEpisode] = []
    written = time.monotonic()
    for entry in _scanned(source):
        if cancelled():
            yield None
            return
        batch.append(entry)
        if len(batch) >= BATCH or time.monotonic() - written > FLUSH:
            yield batch
            batch, written = [], time.monotonic()
    if batch:
        yield batch


def _scanned(source: Scanned) -> Iterator[EpisodeMeta | BrokenEpisode]:
    """A source that cannot go on is listed with its reason, beside what it gave before."""
    try:
        yield from source.scan()
    except Unreachable:  # nothing is wrong with what was not seen: the scan is not complete
        raise
    except UserError as error:
        yield BrokenEpisode(str(getattr(source, "root", "")), str(error))
