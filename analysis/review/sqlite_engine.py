"""SQLite as reviews need it: on disk when acknowledged, one file that stays the same."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from analysis.review.errors import ReviewsUnavailable

BUSY_SECONDS = 60  # how long to wait for another's transaction
CLOSING_MILLISECONDS = 1000  # the same when the database is closed


def sqlite_engine(url: str) -> Engine:
    """Its connections write in WAL mode (see `analysis.review.migrate`) and wait for the disk."""
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_size=5, max_overflow=20)
    path = engine.url.database or ""

    def connected(raw: Any, entry: ConnectionPoolEntry) -> None:
        raw.isolation_level = None  # transactions begin where SQLAlchemy says so, not before the first write
        raw.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute("PRAGMA recursive_triggers = ON")
        entry.info["file"] = _file(path)

    def taken(raw: Any, entry: ConnectionPoolEntry, proxy: Any) -> None:
        if entry.info.get("file") != _file(path):  # what is written to a file that was deleted is lost
            entry.invalidate()
            raise ReviewsUnavailable(f"{path} was deleted or replaced while it was in use; open the workspace again")

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begun)
    return engine


def move_log(engine: Engine) -> None:
    """Writes the rows of the write-ahead log into the file itself and empties the log.

    Readers and writers of other programs are waited for a second; where they take longer, the log stays as it is.
    """
    raw = engine.raw_connection()
    try:
        raw.cursor().execute(f"PRAGMA busy_timeout = {CLOSING_MILLISECONDS}")
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        raw.invalidate()  # it waits less than the others


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
