"""What the database itself promises: tables, migrations, rows that stay, and sentences where it cannot be used."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analysis.review import ProjectSettings, ReviewStore, ReviewsUnavailable
from analysis.review.database import open_database
from analysis.review.migrate import HEAD, VERSION_TABLE
from analysis.review.tables import APPEND_ONLY, metadata
from analysis.review.turn import own_turn
from analysis.workspace import Workspace
from models.errors import UserError
from tests.analysis.review_world import GOOD, Clock, open_store, say, sources

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_migrations_make_the_tables_that_the_code_knows(review_address):
    database = open_database(review_address)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    scripts = ScriptDirectory(str(ROOT / "analysis" / "review" / "migrations"))
    assert scripts.get_heads() == [HEAD]


@pytest.mark.slow
def test_rows_are_never_changed_or_deleted(review_address):
    store = open_store(review_address, Clock())
    project = store.create_project(ProjectSettings("first"), sources(1), "lead")
    item = store.items(project.id)[0].id
    say(store, item, "ann", GOOD)
    store.adjudicate(item, GOOD, "lead", 0)
    store.set_gold(item, GOOD, "lead", 0)
    for table in APPEND_ONLY:
        for change in (f"UPDATE {table.name} SET author = 'eve'", f"DELETE FROM {table.name}"):
            with pytest.raises(DBAPIError, match="append-only"), store.database.writing() as connection:
                connection.execute(text(change))
    assert store.reviews(project.id)[0].annotator == "ann"


def test_sqlite_rows_are_not_replaced_either(tmp_path):
    """By a program that knows nothing of us, with the switches as SQLite has them."""
    store = open_store(str(tmp_path / "r.sqlite"), Clock())
    project = store.create_project(ProjectSettings("first"), sources(1), "lead")
    say(store, store.items(project.id)[0].id, "ann", GOOD)
    with closing(sqlite3.connect(tmp_path / "r.sqlite")) as connection:
        for table in ("reviews", "review_items", "review_projects", "review_project_versions"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


def test_postgres_tables_are_not_emptied_at_once(postgres):
    store = open_store(postgres.database(), Clock())
    with pytest.raises(DBAPIError, match="append-only"), store.database.writing() as connection:
        connection.execute(text("TRUNCATE reviews"))


def test_sqlite_waits_for_the_disk(tmp_path):
    database = open_database(tmp_path / "r.sqlite")
    with database.reading() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_postgres_waits_for_the_disk_also_where_it_was_told_not_to(postgres):
    url = postgres.database()
    database = open_database(url.replace("&options=", "&options=-csynchronous_commit%3Doff%20"))
    with database.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


@pytest.mark.slow
def test_many_open_a_new_database_at_once(review_address):
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: ReviewStore.open(review_address), range(8)))
    project = opened[0].create_project(ProjectSettings("first"), sources(1), "lead")
    assert all(store.projects() == (project,) for store in opened)


@pytest.mark.slow
def test_many_processes_open_a_new_database_at_once(review_address):
    script = f"from analysis.review import ReviewStore; print(ReviewStore.open({review_address!r}).projects())"
    run = [sys.executable, "-c", script]
    started = [subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(6)]
    assert [process.communicate()[0] for process in started] == [b"()\n"] * 6


def test_a_database_of_a_newer_version_is_left_alone(review_address):
    database = open_database(review_address)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(UserError, match="layout 9999, which this version does not know"):
        open_database(review_address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://me:secret@host/db", "cannot be kept in 'mysql'"),
        ("sqlite://", "in memory only"),
        ("postgresql+psycopg://me:secret@host:port/db", "is no URL"),
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot be reached"),
    ],
)
def test_addresses_that_cannot_be(address, said):
    with pytest.raises(UserError, match=said) as error:
        open_database(address)
    assert "secret" not in str(error.value)


def test_passwords_are_not_shown(tmp_path, monkeypatch):
    address = "postgresql+psycopg://me:secret@127.0.0.1:1/db"
    (tmp_path / "workspace.toml").write_text(f'episodes = []\ncheckpoints = []\nreviews = "{address}"\n')
    opened = Workspace.open(tmp_path)
    assert opened.reviews_address == address and "secret" not in repr(opened)
    monkeypatch.setenv("VLA_LENS_REVIEWS", "elsewhere.sqlite")
    store = Workspace.open(tmp_path).reviews
    assert (tmp_path / "elsewhere.sqlite").exists() and str(store.database) == str(tmp_path / "elsewhere.sqlite")
    assert "secret" not in repr(replace(store, database=store.database))


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "r.sqlite").write_bytes(b"something else " * 100)
    with pytest.raises(ReviewsUnavailable, match="is no SQLite database"):
        open_database(tmp_path / "r.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(ReviewsUnavailable, match="cannot be opened"):
        open_database(tmp_path / "folder.sqlite")
    with pytest.raises(ReviewsUnavailable, match="cannot be made"):
        open_database(tmp_path / "r.sqlite" / "inside.sqlite")


def test_nothing_is_written_to_a_file_that_was_deleted_meanwhile(tmp_path):
    path = tmp_path / "r.sqlite"
    store = ReviewStore.open(path)
    for name in ("r.sqlite", "r.sqlite-wal", "r.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(ReviewsUnavailable, match="deleted or replaced"):
        store.create_project(ProjectSettings("first"), sources(1), "lead")
    assert ReviewStore.open(path).projects() == ()


def test_writers_of_a_file_take_turns_in_order(tmp_path):
    path, order, threads = tmp_path / "r.sqlite", [], []

    def write(number: int) -> None:
        with own_turn(path, 30):
            order.append(number)

    with own_turn(path, 1):
        for number in range(5):
            threads.append(Thread(target=write, args=(number,)))
            threads[-1].start()
            sleep(0.1)
        with pytest.raises(ReviewsUnavailable, match="kept it locked; try again"), own_turn(path, 0.1):
            pass
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]
    with own_turn(tmp_path / "no folder" / "r.sqlite", 1):  # SQLite says what is wrong there
        pass


def full(store: ReviewStore, pages: int) -> None:
    """Makes SQLite take no more room than it has, as on a full disk."""
    with store.database.writing() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used + pages}")


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path):
    """With SQLite's own limit in place of the disk's; see also the stress test with a limit of the system."""
    store = open_store(str(tmp_path / "r.sqlite"), Clock())
    project = store.create_project(ProjectSettings("first", overlap=9), sources(1), "lead")
    item = store.items(project.id)[0].id
    first = say(store, item, "ann", GOOD)
    store.save_draft(item, "ben", "ben-on-it", {"comment": "short"})
    full(store, 0)
    long = replace(GOOD, comment="x" * 100_000)
    with pytest.raises(ReviewsUnavailable, match=r"r\.sqlite cannot be used: the disk is full; free some space"):
        say(store, item, "ben", long)
    assert store.reviews(project.id) == (first,) and store.draft(item, "ben").content == {"comment": "short"}
    full(store, 1000)
    assert say(store, item, "ben", long) in store.reviews(project.id)


NO_SPACE = """CREATE FUNCTION full_{table}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"""
WHERE = """CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT
EXECUTE FUNCTION full_{table}()"""


def test_a_full_disk_of_the_server_is_said_and_what_was_there_stays(postgres):
    """The server answers as it does where a file cannot grow."""
    store = open_store(postgres.database(), Clock())
    project = store.create_project(ProjectSettings("first", overlap=9), sources(1), "lead")
    item = store.items(project.id)[0].id
    first = say(store, item, "ann", GOOD)
    store.save_draft(item, "ben", "ben-on-it", {"comment": "short"})
    for table in ("reviews", "review_drafts"):
        with store.database.writing() as connection:
            connection.exec_driver_sql(NO_SPACE.format(table=table))
            connection.exec_driver_sql(WHERE.format(table=table))
    with pytest.raises(ReviewsUnavailable, match="the disk of the server is full; free some space"):
        say(store, item, "ben", GOOD)
    with pytest.raises(ReviewsUnavailable, match="the disk of the server is full; free some space"):
        store.save_draft(item, "ben", "ben-on-it", {"comment": "longer"})
    assert store.reviews(project.id) == (first,) and store.draft(item, "ben").content == {"comment": "short"}
    for table in ("reviews", "review_drafts"):
        with store.database.writing() as connection:
            connection.exec_driver_sql(f"DROP TRIGGER full_disk ON {table}")
    assert say(store, item, "ben", GOOD) in store.reviews(project.id)


FILLS = """
import resource, sys
from analysis.review import ReviewsUnavailable
from dataclasses import replace
from tests.analysis.review_world import GOOD, Clock, open_store, say
store = open_store(sys.argv[1], Clock())
(project,) = store.projects()
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for number, item in enumerate(store.items(project.id)):
    try:
        say(store, item.id, "ann", replace(GOOD, comment="x" * 100_000))
    except ReviewsUnavailable as error:
        print(number, error)
        break
"""


@pytest.mark.slow
def test_a_limit_of_the_system_on_files_is_said_and_no_acknowledged_review_is_lost(tmp_path):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] != 0
    path = tmp_path / "r.sqlite"
    store = open_store(str(path), Clock())
    project = store.create_project(ProjectSettings("first"), sources(40), "lead")
    done = subprocess.run([sys.executable, "-c", FILLS, path], cwd=ROOT, capture_output=True, text=True, check=True)
    number, said = done.stdout.split(" ", 1)
    assert 0 < int(number) < 40 and "the disk" in said
    assert len(store.reviews(project.id)) == int(number)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def may_only_read(folder: Path) -> Iterator[None]:
    """Takes away the right to write; root has it everywhere, so is another user meanwhile."""
    for parent in folder.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o055)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_closed_database_is_one_file(tmp_path):
    """Also while another program looks at it, and a second time; one that reads on and on is not waited for long."""
    path = tmp_path / "r.sqlite"
    store = open_store(str(path), Clock())
    with closing(sqlite3.connect(path)) as other:
        for number, name in enumerate(("first", "second"), 1):
            store.create_project(ProjectSettings(name), sources(1), "lead")
            assert other.execute("SELECT count(*) FROM review_projects").fetchone() == (number,)
            store.database.close()
            copy = tmp_path / f"{name}.sqlite"
            copy.write_bytes(path.read_bytes())
            assert len(open_store(str(copy), Clock()).projects()) == number
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM review_projects").fetchone()
        store.create_project(ProjectSettings("third"), sources(1), "lead")
        began = monotonic()
        store.database.close()
        assert monotonic() - began < 10
    assert len(store.projects()) == 3


def test_closing_what_is_gone_says_nothing_but_in_the_log(tmp_path, caplog):
    store = open_store(str(tmp_path / "r.sqlite"), Clock())
    (tmp_path / "r.sqlite").unlink()
    store.database.close()
    assert "deleted or replaced" in caplog.text


def test_a_workspace_that_may_only_be_read(tmp_path):
    folder = tmp_path / "workspace"
    store = open_store(str(folder / "r.sqlite"), Clock())
    project = store.create_project(ProjectSettings("first"), sources(1), "lead")
    item = store.items(project.id)[0].id
    store.database.close()
    with may_only_read(folder):
        for work in (lambda: say(store, item, "ann", GOOD), lambda: ReviewStore.open(folder / "new.sqlite")):
            with pytest.raises(ReviewsUnavailable, match=r"(r|new)\.sqlite cannot be used: it .*folder ha(s|ve) to be"):
                work()
    say(store, item, "ann", GOOD)
