"""Rows of the tables as values, and the queries that several parts of the store share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select

from analysis import __version__
from analysis.review.item import Draft, Item, Review, Source
from analysis.review.judgement import Judgement, judgement_from_json
from analysis.review.project import Project, ProjectSettings, selection_from_json, settings_from_json
from analysis.review.tables import drafts, items, projects, reviews, seats, versions
from models.errors import UserError
from models.types import Rationale

TOOL = f"vla-lens {__version__}"
BATCH = 500  # ids in one query


def select_items() -> Select[Any]:
    """Items with ``overlap``: how many places they have."""
    places = select(func.count()).where(seats.c.item == items.c.id).correlate(items).scalar_subquery()
    return select(*items.c, places.label("overlap"))


def item_of(row: Any) -> Item:
    said = Rationale(dict(row.parts), row.start, row.stop, row.rationale_author)
    texts = row.dataset, row.episode, row.episode_digest, row.instruction
    return Item(row.id, row.project, row.number, row.overlap, Source(*texts, said, row.scores, row.record), row.digest)


def find_item(connection: Connection, id: str) -> Item:
    """Raises UserError if there is none."""
    row = connection.execute(select_items().where(items.c.id == id)).one_or_none()
    if row is None:
        raise UserError(f"there is no item {id!r:.80} to review; it may be of another database")
    return item_of(row)


def judgement_of(stored: Any) -> Judgement | None:
    return None if stored is None else judgement_from_json(stored)


def review_of(row: Any) -> Review:
    return Review(
        row.id,
        row.item,
        row.project,
        row.author,
        judgement_of(row.judgement),
        row.time,
        row.digest,
        row.tool,
        row.supersedes,
        row.undoes,
        row.seconds,
        row.origin,
    )


def find_review(connection: Connection, id: str) -> Review | None:
    row = connection.execute(select(reviews).where(reviews.c.id == id)).one_or_none()
    return None if row is None else review_of(row)


def newest_review(connection: Connection, item: str, annotator: str) -> Review | None:
    """The row that counts, also one that says that there is no review any more."""
    mine = select(reviews).where(reviews.c.item == item, reviews.c.author == annotator)
    row = connection.execute(mine.order_by(reviews.c.time.desc(), reviews.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else review_of(row)


def standing(connection: Connection, project: str | None, item: str | None = None) -> tuple[Review, ...]:
    """The reviews that count, in the order in which they were made; of all projects where ``project`` is None.

    Of each annotator on each item that is the newest, unless it was undone.
    """
    newest = (reviews.c.time.desc(), reviews.c.number.desc())
    nth = func.row_number().over(partition_by=(reviews.c.item, reviews.c.author), order_by=newest).label("nth")
    wanted = [reviews.c.project == project] if project is not None else []
    wanted += [reviews.c.item == item] if item is not None else []
    ranked = select(reviews, nth).where(*wanted).subquery()
    columns = [column for column in ranked.c if column.name != "nth"]
    query = select(*columns).where(ranked.c.nth == 1, ranked.c.judgement.is_not(None))
    return tuple(map(review_of, connection.execute(query.order_by(ranked.c.time, ranked.c.number))))


def draft_of(row: Any) -> Draft:
    return Draft(row.item, row.annotator, row.review, row.content, row.revision, row.saved)


def find_draft(connection: Connection, item: str, annotator: str) -> Draft | None:
    mine = select(drafts).where(drafts.c.item == item, drafts.c.annotator == annotator)
    row = connection.execute(mine).one_or_none()
    return None if row is None else draft_of(row)


def find_settings(connection: Connection, project: str) -> ProjectSettings:
    return find_project(connection, project).settings


def find_project(connection: Connection, id: str) -> Project:
    """Raises UserError if there is none."""
    found = find_projects(connection, id)
    if not found:
        raise UserError(f"there is no review project {id!r:.80}; it may be of another database")
    return found[0]


def find_projects(connection: Connection, id: str | None = None) -> tuple[Project, ...]:
    """Newest first; only the one called ``id`` where that is given."""
    last = select(func.max(versions.c.version)).where(versions.c.project == projects.c.id).correlate(projects)
    query = (
        select(
            projects.c.id,
            projects.c.selection,
            projects.c.time,
            projects.c.author,
            versions.c.version,
            versions.c.settings,
            versions.c.time.label("changed"),
            versions.c.author.label("changed_by"),
        )
        .join(versions, versions.c.project == projects.c.id)
        .where(versions.c.version == last.scalar_subquery())
        .order_by(projects.c.time.desc(), projects.c.id)
    )
    if id is not None:
        query = query.where(projects.c.id == id)
    return tuple(
        Project(
            row.id,
            row.version,
            settings_from_json(row.settings),
            selection_from_json(row.selection),
            row.time,
            row.author,
            row.changed,
            row.changed_by,
        )
        for row in connection.execute(query)
    )
