"""Who gets which item: places that are leased, and free again when the lease has run out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from analysis.review.item import Assignment
from analysis.review.project import ProjectSettings
from analysis.review.rows import find_draft, find_item
from analysis.review.tables import seats
from models.errors import UserError


def check_annotator(settings: ProjectSettings, annotator: str) -> None:
    """Raises UserError if the project is closed or not for this annotator."""
    if settings.closed:
        raise UserError(f"the project {settings.name!r} is closed; a lead can open it again")
    if settings.annotators and annotator not in settings.annotators:
        raise UserError(f"{annotator!r} is not among the annotators of the project {settings.name!r}; ask a lead")


def lease_end(settings: ProjectSettings, now: datetime) -> datetime:
    return now + timedelta(seconds=settings.lease_seconds)


def held(
    connection: Connection, project: str, annotator: str, skipped: Collection[str], count: int, until: datetime
) -> list[Assignment]:
    """Items that the annotator has taken and not reviewed, renewed; also expired ones that nobody else took."""
    mine = select(seats).where(
        seats.c.project == project, seats.c.annotator == annotator, ~seats.c.filled, seats.c.item.not_in(skipped)
    )
    rows = connection.execute(mine.order_by(seats.c.rank, seats.c.item).limit(count).with_for_update()).all()
    return [_assigned(connection, row, annotator, until) for row in rows]


def take(
    connection: Connection,
    project: str,
    annotator: str,
    skipped: Collection[str],
    settings: ProjectSettings,
    now: datetime,
    wait: bool,
) -> Assignment | None:
    """The first item in the queue that has a free place and that the annotator has not had.

    ``wait``: for places that another transaction is about to take or leave, else they are passed over.
    """
    other = seats.alias()
    had = exists().where(other.c.item == seats.c.item, other.c.annotator == annotator)
    wanted = [seats.c.project == project, free(now), ~had, seats.c.item.not_in(skipped)]
    for gold in _gold_first(connection, project, annotator, settings):
        query = select(seats).where(*wanted, *gold).order_by(seats.c.rank, seats.c.item, seats.c.seat).limit(1)
        row = connection.execute(query.with_for_update(skip_locked=not wait)).one_or_none()
        if row is not None:
            return _assigned(connection, row, annotator, lease_end(settings, now))
    return None


def free(now: datetime) -> ColumnElement[bool]:
    return and_(~seats.c.filled, or_(seats.c.annotator.is_(None), seats.c.expires < now))


def _gold_first(
    connection: Connection, project: str, annotator: str, settings: ProjectSettings
) -> list[list[ColumnElement[bool]]]:
    """What to look for, one after the other: gold items when one is due, the others else."""
    if settings.gold_every is None:
        return [[]]
    mine = and_(seats.c.project == project, seats.c.annotator == annotator)
    taken = connection.scalar(select(func.count()).where(mine)) or 0
    due = taken % (settings.gold_every + 1) == settings.gold_every
    return [[seats.c.gold], [~seats.c.gold]] if due else [[~seats.c.gold], [seats.c.gold]]


def _assigned(connection: Connection, row: Any, annotator: str, until: datetime) -> Assignment:
    this = and_(seats.c.item == row.item, seats.c.seat == row.seat)
    connection.execute(update(seats).where(this).values(annotator=annotator, expires=until))
    return Assignment(find_item(connection, row.item), annotator, until, find_draft(connection, row.item, annotator))


def renew(connection: Connection, item: str, annotator: str, until: datetime) -> bool:
    """False if the annotator does not have the item any more."""
    mine = and_(seats.c.item == item, seats.c.annotator == annotator, ~seats.c.filled)
    return connection.execute(update(seats).where(mine).values(expires=until)).rowcount > 0


def release(connection: Connection, item: str, annotator: str) -> bool:
    """Gives the place back; False if the annotator did not have it."""
    mine = and_(seats.c.item == item, seats.c.annotator == annotator, ~seats.c.filled)
    return connection.execute(update(seats).where(mine).values(annotator=None, expires=None)).rowcount > 0


def has_place(connection: Connection, item: str, annotator: str, now: datetime) -> bool:
    """Whether `claim` would find one."""
    mine_or_free = or_(seats.c.annotator == annotator, free(now))
    return connection.scalar(select(seats.c.seat).where(seats.c.item == item, mine_or_free).limit(1)) is not None


def claim(connection: Connection, item: str, annotator: str, now: datetime) -> int | None:
    """The annotator's place at an item, taken now if there is a free one; None if there is none."""
    own = select(seats.c.seat).where(seats.c.item == item, seats.c.annotator == annotator)
    seat = connection.scalar(own.with_for_update())
    if seat is not None:
        return int(seat)
    open_ = select(seats.c.seat).where(seats.c.item == item, free(now)).order_by(seats.c.seat).limit(1)
    seat = connection.scalar(open_.with_for_update())
    return None if seat is None else int(seat)
