"""How far a project and each of its annotators are."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, select

from analysis.review.decisions import conflicts, newest_adjudications, newest_golds
from analysis.review.item import AnnotatorProgress, Progress, Review
from analysis.review.judgement import ACCEPT, CORRECT, REJECT, UNSURE
from analysis.review.rows import find_project, standing
from analysis.review.tables import drafts, items, seats


def progress(connection: Connection, project: str, now: datetime) -> Progress:
    find_project(connection, project)
    reviews = standing(connection, project)
    filled, leased = func.sum(case((seats.c.filled, 1), else_=0)), and_(~seats.c.filled, seats.c.expires >= now)
    counts = select(func.count().label("places"), filled.label("filled")).where(seats.c.project == project)
    places = connection.execute(counts.group_by(seats.c.item)).all()
    of_leased = select(seats.c.annotator, func.count()).where(seats.c.project == project, leased)
    held = _counted(connection, of_leased.group_by(seats.c.annotator))
    return Progress(
        items=len(places),
        begun=sum(row.filled > 0 for row in places),
        done=sum(row.filled >= row.places for row in places),
        reviews=len(reviews),
        wanted=sum(row.places for row in places),
        leased=sum(held.values()),
        conflicts=len(conflicts(connection, project, open_only=True)),
        adjudicated=len(newest_adjudications(connection, project)),
        gold=len(newest_golds(connection, project)),
        annotators=_annotators(reviews, held, _drafts(connection, project)),
    )


def _drafts(connection: Connection, project: str) -> dict[str, int]:
    query = select(drafts.c.annotator, func.count()).join(items, items.c.id == drafts.c.item)
    return _counted(connection, query.where(items.c.project == project).group_by(drafts.c.annotator))


def _counted(connection: Connection, query: Select[Any, Any]) -> dict[str, int]:
    return {str(name): count for name, count in connection.execute(query)}


def _annotators(
    reviews: tuple[Review, ...], held: dict[str, int], kept: dict[str, int]
) -> tuple[AnnotatorProgress, ...]:
    by_name: dict[str, list[Review]] = {name: [] for name in (*held, *kept)}
    for review in reviews:
        by_name.setdefault(review.annotator, []).append(review)
    return tuple(_annotator(name, mine, held.get(name, 0), kept.get(name, 0)) for name, mine in sorted(by_name.items()))


def _annotator(name: str, reviews: list[Review], leased: int, kept: int) -> AnnotatorProgress:
    overall = Counter(one.judgement.overall for one in reviews if one.judgement is not None)
    seconds = [one.seconds for one in reviews if one.seconds is not None]
    times = [one.time for one in reviews]
    return AnnotatorProgress(
        name,
        len(reviews),
        leased,
        kept,
        accepted=overall[ACCEPT],
        corrected=overall[CORRECT],
        rejected=overall[REJECT],
        unsure=overall[UNSURE],
        seconds=median(seconds) if seconds else None,
        first=min(times, default=None),
        last=max(times, default=None),
    )
