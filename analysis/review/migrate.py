"""Bringing a database's tables to what this version knows, whoever opens it first; others wait and find it done."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from models.errors import UserError

HEAD = "0001"  # the newest migration; a test compares it with the folder
VERSION_TABLE = "review_schema"
LOCK = 0x564C4152  # of PostgreSQL: any number that no other program takes
WAL_SECONDS = 60.0


def migrate(engine: Engine) -> None:
    """Runs what is missing in one transaction. Raises UserError for a database of a newer version."""
    with engine.connect() as connection, connection.begin():
        found = schema_version(connection)
    if found == HEAD:
        return
    if engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            _upgrade(connection)


def schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    found = schema_version(connection)
    if found == HEAD:  # another was first
        return
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        if found is None:
            raise
        raise UserError(
            f"the reviews have the layout {found}, which this version does not know; it knows up to {HEAD}: "
            "use the newer version of VLA Lens that wrote them"
        ) from error


def _use_wal(engine: Engine) -> None:
    """Once for a file. Two that do so at the same time: the second is told 'locked' without waiting."""
    until = monotonic() + WAL_SECONDS
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or monotonic() > until:
                raise OperationalError("PRAGMA journal_mode = WAL", None, error) from error
            sleep(0.05)
        finally:
            raw.close()
