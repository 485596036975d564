"""The tables: docs/reviews.md says what they promise. Migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from analysis.review.columns import ExactJson, ExactText, UtcTime
from analysis.review.names import MAX_NAME

metadata = MetaData()
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself in a column INTEGER only
ID = String(64)
NAME = String(MAX_NAME)


def _written() -> tuple[Column[object], ...]:
    """Who wrote a row, when, with what."""
    return (
        Column("author", NAME, nullable=False),
        Column("time", UtcTime, nullable=False),
        Column("tool", String(64), nullable=False),
    )


projects = Table(
    "review_projects",
    metadata,
    Column("id", ID, primary_key=True),
    Column("selection", ExactJson, nullable=False),
    *_written(),
)

versions = Table(  # of a project's settings
    "review_project_versions",
    metadata,
    Column("project", ID, ForeignKey(projects.c.id), primary_key=True),
    Column("version", Integer, primary_key=True),  # two people who change the same version: the second fails
    Column("settings", ExactJson, nullable=False),
    *_written(),
)

items = Table(
    "review_items",
    metadata,
    Column("id", ID, primary_key=True),
    Column("project", ID, ForeignKey(projects.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", ID, nullable=False),
    Column("dataset", ExactText, nullable=False),
    Column("episode", ExactText, nullable=False),
    Column("episode_digest", ID, nullable=False),
    Column("instruction", ExactText, nullable=False),
    Column("start", Integer, nullable=False),
    Column("stop", Integer, nullable=False),
    Column("rationale_author", ExactText, nullable=False),
    Column("parts", ExactJson, nullable=False),  # list of [name, text], in order
    Column("scores", ExactJson, nullable=False),
    Column("record", ID, nullable=False),
    *_written(),
    UniqueConstraint("project", "digest"),
    UniqueConstraint("project", "number"),
)

seats = Table(  # one row for each annotator that an item may have: more cannot be
    "review_seats",
    metadata,
    Column("item", ID, ForeignKey(items.c.id), primary_key=True),
    Column("seat", Integer, primary_key=True),
    Column("project", ID, ForeignKey(projects.c.id), nullable=False),
    Column("rank", Float(53), nullable=False),  # lower comes first
    Column("gold", Boolean, nullable=False),
    Column("annotator", NAME),  # who has it, or had it until it expired and nobody else took it
    Column("expires", UtcTime),  # NULL while nobody has it, and once it is filled
    Column("filled", Boolean, nullable=False),  # by a review that counts
    UniqueConstraint("item", "annotator"),
    CheckConstraint("NOT filled OR annotator IS NOT NULL", name="review_seats_filled_by_somebody"),
)
Index(
    "review_seats_open", seats.c.project, seats.c.rank, postgresql_where=~seats.c.filled, sqlite_where=~seats.c.filled
)
Index("review_seats_of", seats.c.project, seats.c.annotator)

reviews = Table(
    "reviews",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("item", ID, ForeignKey(items.c.id), nullable=False),
    Column("project", ID, ForeignKey(projects.c.id), nullable=False),
    *_written(),
    Column("digest", ID, nullable=False),
    Column("judgement", ExactJson),  # NULL: undone, and there was none before
    Column("supersedes", ID),
    Column("undoes", ID),
    Column("seconds", Float(53)),
    Column("origin", ExactText, nullable=False),
    Column("stored", UtcTime, nullable=False),  # later than ``time`` where it was imported
)
Index("reviews_of_item", reviews.c.item, reviews.c.author, reviews.c.time)
Index("reviews_of_project", reviews.c.project, reviews.c.author)


def _decided(name: str) -> Table:
    """A lead's word on an item, in versions."""
    return Table(
        name,
        metadata,
        Column("item", ID, ForeignKey(items.c.id), primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("project", ID, ForeignKey(projects.c.id), nullable=False),
        Column("judgement", ExactJson),
        Column("digest", ID, nullable=False),
        *_written(),
        Index(f"{name}_of_project", "project"),
    )


adjudications = _decided("review_adjudications")
golds = _decided("review_golds")

drafts = Table(
    "review_drafts",
    metadata,
    Column("item", ID, ForeignKey(items.c.id), primary_key=True),
    Column("annotator", NAME, primary_key=True),
    Column("review", ID, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("content", ExactJson, nullable=False),
    Column("saved", UtcTime, nullable=False),
)

APPEND_ONLY = (projects, versions, items, reviews, adjudications, golds)
