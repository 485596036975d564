"""The database behind the reviews: connections that keep what they acknowledge, and errors as sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from random import uniform
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from analysis.review.database_errors import is_circumstance, sentence
from analysis.review.errors import ReviewsUnavailable
from analysis.review.migrate import migrate
from models.errors import UserError

BUSY_SECONDS = 60  # how long to wait for another's transaction
CONNECT_SECONDS = 10
ASK_AGAIN = 0.02  # seconds until a writer that came just now asks again whether it may
KINDS = ("sqlite", "postgresql")


class Database:
    """One database of reviews, with the tables of this version. Threads may share it; a forked process may not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def __str__(self) -> str:
        return shown(self._engine.url)

    def close(self) -> None:
        """Closes idle connections; SQLite then leaves one file alone. It may be used again all the same."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One moment of the database. Raises ReviewsUnavailable."""
        with self._reported(), self._engine.connect() as connection, connection.begin():
            if self.kind == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of it is on disk when the block has ended, or none. Raises ReviewsUnavailable."""
        with self._reported(), self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise ReviewsUnavailable(f"the reviews in {self} cannot be used: all connections are busy") from error
        except StatementError as error:
            if isinstance(error.orig, UserError):  # a value that a column does not take
                raise error.orig from None
            if not isinstance(error, DBAPIError) or not is_circumstance(error):
                raise
            raise ReviewsUnavailable(sentence(str(self), error)) from error


def open_database(address: str | os.PathLike[str]) -> Database:
    """The database at a path (SQLite) or URL (``postgresql+psycopg://...``), made or brought up to date first.

    Raises UserError for an address that cannot be one, ReviewsUnavailable where it cannot be reached or written.
    """
    url = _url(address)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReviewsUnavailable(f"{path} cannot be made: {error.strerror}; name a folder to write in") from None
    database = Database(_engine(url.render_as_string(hide_password=False), os.getpid()))
    with database._reported():
        migrate(database._engine)
    return database


def shown(url: URL) -> str:
    """The address for messages, without its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _url(address: str | os.PathLike[str]) -> URL:
    text = os.fspath(address)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UserError(
            "the address of the reviews is no URL; expected a path or postgresql+psycopg://user@host/name"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UserError(
            f"reviews cannot be kept in {url.drivername!r}; use a path or postgresql+psycopg://user@host/name"
        )
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise UserError("reviews cannot be kept in memory only; name a file, as in sqlite:////folder/reviews.sqlite")
    return url


@lru_cache(maxsize=32)
def _engine(url: str, process: int) -> Engine:
    """``process``: a child that was forked must not use its parent's connections."""
    try:
        if url.startswith("sqlite"):
            return _sqlite_engine(url)
        arguments = {"connect_timeout": CONNECT_SECONDS}
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=20,
            connect_args=arguments,
            isolation_level="READ COMMITTED",
        )
    except (ArgumentError, NoSuchModuleError, TypeError) as error:
        raise UserError(f"the address of the reviews cannot be used: {type(error).__name__}") from None
    event.listen(engine, "connect", _durable)
    return engine


def _sqlite_engine(url: str) -> Engine:
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
        if connection.get_execution_options().get("writes"):
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)
    event.listen(engine, "begin", begun)
    return engine


def _begin_writing(connection: Connection) -> None:
    """Waits for other writers, asking the more often the longer it has waited.

    SQLite's own waiting asks ever more seldom: of many writers, who has waited longest would get in last.
    """
    began = monotonic()
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
                waited = monotonic() - began
                if code != sqlite3.SQLITE_BUSY or waited > BUSY_SECONDS:
                    raise
            sleep(uniform(0.5, 1) * ASK_AGAIN / (1 + 2 * waited))
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _durable(raw: Any, entry: ConnectionPoolEntry) -> None:
    """A server that was told not to wait for its disk does so for reviews."""
    asked = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    raw.execute(asked)
    raw.commit()
