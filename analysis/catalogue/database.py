"""The SQLite file behind the episode index: made, opened, and thrown away where it is damaged or of another version.

Everything in it can be read again from the data sets, so nothing here repairs or migrates.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path
from secrets import randbits
from time import sleep
from typing import TypeVar

from analysis.atomic_file import written_once
from analysis.types import EpisodeMeta
from models.errors import UserError

T = TypeVar("T")
WAIT = 60.0  # seconds for another process's batch to be written
SCHEMA = """
CREATE TABLE scans (scan INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT NOT NULL, stamp TEXT NOT NULL,
                    complete INTEGER NOT NULL);
CREATE TABLE episodes (episode INTEGER PRIMARY KEY, scan INTEGER NOT NULL, id TEXT COLLATE NOCASE,
                       instruction TEXT COLLATE NOCASE, task TEXT COLLATE NOCASE, robot TEXT COLLATE NOCASE,
                       length INTEGER, duration REAL, success INTEGER, has_rationale INTEGER, splits TEXT, broken TEXT,
                       kind TEXT);
CREATE INDEX by_id ON episodes (id, scan);
CREATE INDEX by_length ON episodes (length, scan, broken);
CREATE INDEX by_instruction ON episodes (instruction, scan, broken);
CREATE INDEX by_task ON episodes (task, scan, broken);
CREATE INDEX by_robot ON episodes (robot, scan, broken);
CREATE INDEX by_success ON episodes (success, scan, broken);
CREATE INDEX by_rationale ON episodes (has_rationale, scan, broken);
CREATE INDEX by_splits ON episodes (splits, scan, broken);
CREATE TABLE contents (episode INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (id, instruction, task, tokenize = 'unicode61 remove_diacritics 2',
                                       prefix = '1 2 3');
"""
TABLES = {"scans", "episodes", "contents", "words"}
VERSION = zlib.crc32((SCHEMA + " ".join(entry.name for entry in fields(EpisodeMeta))).encode()) >> 1  # fits an int32
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ
CIRCUMSTANCES = {  # not this program's fault
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Damaged(Exception):
    """The file holds something that this program did not write."""


def working(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """What ``work`` returns, given a connection; once more on a new, empty file if the one there is damaged.

    Raises UserError if the file cannot be made, read or written.
    """
    try:
        with _opened(path) as connection:
            return work(connection)
    except Damaged:
        with _opened(path) as connection:
            return work(connection)


def is_current(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether ``path`` is still the file that was opened, not replaced by another process meanwhile."""
    inode, mark = _identity(path)
    return connection.execute("SELECT inode, mark FROM temp.opened").fetchone() == (inode, mark)


@contextmanager
def alone(path: Path, name: str, cancelled: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Keeps other processes and threads that ask for ``name`` waiting; yields False if cancelled while waiting."""
    lock = path.with_name(f"{path.name}.{sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}.lock")
    with _reported(path):
        lock.parent.mkdir(parents=True, exist_ok=True)
        stream = lock.open("ab")
    with stream:
        while True:
            try:
                flock(stream, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if cancelled():
                    yield False
                    return
                sleep(0.05)
            except OSError as error:  # a file system without locks
                raise _unusable(path, error.strerror or str(error)) from None
        yield True


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with _reported(path):
        if not path.exists():
            _make(path)
        identity = _identity(path)
    try:
        with closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection:
            _check(connection)
            connection.execute("CREATE TEMP TABLE opened (inode INTEGER, mark BLOB)")
            connection.execute("INSERT INTO temp.opened VALUES (?, ?)", identity)
            yield connection
    except (sqlite3.DatabaseError, Damaged) as error:
        code = getattr(error, "sqlite_errorcode", None) or 0
        if isinstance(error, Damaged) or code & 0xFF in DAMAGE or code == SHORT_READ:
            _discard(path, identity)
            raise Damaged from None
        if code & 0xFF in CIRCUMSTANCES:
            raise _unusable(path, str(error)) from None
        raise


def _check(connection: sqlite3.Connection) -> None:
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if connection.execute("PRAGMA user_version").fetchone() != (VERSION,) or not found >= TABLES:
        raise Damaged


def _make(path: Path) -> None:
    with written_once(path) as part, closing(sqlite3.connect(part)) as connection:
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"PRAGMA application_id = {randbits(31)}")
        connection.execute("PRAGMA journal_mode = WAL")


def _identity(path: Path) -> tuple[int, bytes]:
    """Which file this is: an inode's number alone may be given to the next one. The mark is the application_id."""
    with path.open("rb") as stream:
        return os.fstat(stream.fileno()).st_ino, stream.read(72)[68:]


def _discard(path: Path, identity: tuple[int, bytes]) -> None:
    with alone(path, ""), _reported(path):
        if path.exists() and _identity(path) == identity:  # else another process was first
            for suffix in ("-wal", "-shm", ""):  # a journal must not outlive its file and be taken for the next one's
                path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    except sqlite3.OperationalError as error:
        raise _unusable(path, str(error)) from None


def _unusable(path: Path, said: str) -> UserError:
    return UserError(f"the episode index {path} cannot be used: {said}; its folder has to be writable")
