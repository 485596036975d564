"""The database behind the reviews: connections that keep what they acknowledge, and errors as sentences."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from analysis.review.database_errors import is_circumstance, sentence
from analysis.review.errors import ReviewsUnavailable
from analysis.review.migrate import migrate
from analysis.review.sqlite_engine import BUSY_SECONDS, move_log, sqlite_engine
from analysis.review.turn import own_turn
from models.errors import UserError

CONNECT_SECONDS = 10
KINDS = ("sqlite", "postgresql")

log = logging.getLogger(__name__)


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
        """Closes idle connections. SQLite's one file then holds all rows: what stands in its log is moved there first,
        also where another program has the file open. The database may be used again all the same."""
        if self.kind == "sqlite":
            try:
                move_log(self._engine)
            except (ReviewsUnavailable, DBAPIError, sqlite3.Error) as error:
                log.warning(
                    "the log of %s stays beside it: %s", self, error
                )  # nothing is lost: who opens it reads both
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
        with self._reported(), self._turn(), self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    def _turn(self) -> AbstractContextManager[None]:
        path = self._engine.url.database or ""
        return own_turn(Path(path), BUSY_SECONDS) if self.kind == "sqlite" else nullcontext()

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
            return sqlite_engine(url)
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


def _durable(raw: Any, entry: ConnectionPoolEntry) -> None:
    """A server that was told not to wait for its disk does so for reviews."""
    asked = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    raw.execute(asked)
    raw.commit()
