"""The first tables, and what forbids changing a row that was written."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID, NAME = sa.String(64), sa.String(200)
TIME = sa.DateTime().with_variant(sa.DateTime(timezone=True), "postgresql")
APPEND_ONLY = {  # table -> its keys
    "review_projects": ("id",),
    "review_project_versions": ("project", "version"),
    "review_items": ("id",),
    "reviews": ("number", "id"),
    "review_adjudications": ("item", "version"),
    "review_golds": ("item", "version"),
}
TOGETHER = {"review_project_versions", "review_adjudications", "review_golds"}  # whose keys are one


def upgrade() -> None:
    _projects()
    _items()
    _seats()
    _reviews()
    _decisions("review_adjudications")
    _decisions("review_golds")
    _drafts()
    _forbid_changes()


def _column(name: str, kind: Any, *more: sa.ForeignKey, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=null)


def _to(table: str) -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id")


def _written() -> tuple[sa.Column[Any], ...]:
    return _column("author", NAME), _column("time", TIME), _column("tool", sa.String(64))


def _projects() -> None:
    op.create_table(
        "review_projects", sa.Column("id", ID, primary_key=True), _column("selection", sa.Text()), *_written()
    )
    op.create_table(
        "review_project_versions",
        sa.Column("project", ID, _to("review_projects"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        _column("settings", sa.Text()),
        *_written(),
    )


def _items() -> None:
    texts = ("dataset", "episode")
    op.create_table(
        "review_items",
        sa.Column("id", ID, primary_key=True),
        _column("project", ID, _to("review_projects")),
        _column("number", sa.Integer()),
        _column("digest", ID),
        *(_column(name, sa.Text()) for name in texts),
        _column("episode_digest", ID),
        _column("instruction", sa.Text()),
        _column("start", sa.Integer()),
        _column("stop", sa.Integer()),
        *(_column(name, sa.Text()) for name in ("rationale_author", "parts", "scores")),
        _column("record", ID),
        *_written(),
        sa.UniqueConstraint("project", "digest"),
        sa.UniqueConstraint("project", "number"),
    )


def _seats() -> None:
    op.create_table(
        "review_seats",
        sa.Column("item", ID, _to("review_items"), primary_key=True),
        sa.Column("seat", sa.Integer(), primary_key=True),
        _column("project", ID, _to("review_projects")),
        _column("rank", sa.Float(53)),
        _column("gold", sa.Boolean()),
        _column("annotator", NAME, null=True),
        _column("expires", TIME, null=True),
        _column("filled", sa.Boolean()),
        sa.UniqueConstraint("item", "annotator"),
        sa.CheckConstraint("NOT filled OR annotator IS NOT NULL", name="review_seats_filled_by_somebody"),
    )
    free = sa.text("NOT filled")
    op.create_index("review_seats_open", "review_seats", ["project", "rank"], postgresql_where=free, sqlite_where=free)
    op.create_index("review_seats_of", "review_seats", ["project", "annotator"])


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        _column("id", ID),
        _column("item", ID, _to("review_items")),
        _column("project", ID, _to("review_projects")),
        *_written(),
        _column("digest", ID),
        _column("judgement", sa.Text(), null=True),
        _column("supersedes", ID, null=True),
        _column("undoes", ID, null=True),
        _column("seconds", sa.Float(53), null=True),
        _column("origin", sa.Text()),
        _column("stored", TIME),
        sa.UniqueConstraint("id"),
    )
    op.create_index("reviews_of_item", "reviews", ["item", "author", "time"])
    op.create_index("reviews_of_project", "reviews", ["project", "author"])


def _decisions(name: str) -> None:
    op.create_table(
        name,
        sa.Column("item", ID, _to("review_items"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        _column("project", ID, _to("review_projects")),
        _column("judgement", sa.Text(), null=True),
        _column("digest", ID),
        *_written(),
    )
    op.create_index(f"{name}_of_project", name, ["project"])


def _drafts() -> None:
    op.create_table(
        "review_drafts",
        sa.Column("item", ID, _to("review_items"), primary_key=True),
        sa.Column("annotator", NAME, primary_key=True),
        _column("review", ID),
        _column("revision", sa.BigInteger()),
        _column("content", sa.Text()),
        _column("saved", TIME),
    )


def _forbid_changes() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION review_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        for table in APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION review_append_only()"
            )
        return
    for table, keys in APPEND_ONLY.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for change in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {refuse}")
        # INSERT OR REPLACE deletes without asking the trigger above
        same = (" AND " if table in TOGETHER else " OR ").join(f"{key} = NEW.{key}" for key in keys)
        there = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} {there} {refuse}")
