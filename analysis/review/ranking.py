"""Which item comes first."""

from __future__ import annotations

import random

from sqlalchemy import Connection, bindparam, select, update

from analysis.review.project import DISAGREEMENT, RANDOM, SURPRISE
from analysis.review.rows import standing
from analysis.review.scores import differing
from analysis.review.tables import items, seats


def rank_items(connection: Connection, project: str, order: str, seed: int) -> None:
    """Gives each item its place in the queue: what was not scored comes last, equals in random order."""
    found = connection.execute(
        select(items.c.id, items.c.scores).where(items.c.project == project).order_by(items.c.number)
    ).all()
    mixed = random.Random(seed).sample(found, len(found))
    if order != RANDOM:
        sign = -1 if order in (DISAGREEMENT, SURPRISE) else 1
        mixed.sort(key=lambda row: sign * row.scores[order] if order in row.scores else float("inf"))
    if mixed:
        change = update(seats).where(seats.c.item == bindparam("of")).values(rank=bindparam("place"))
        connection.execute(change, [{"of": row.id, "place": float(place)} for place, row in enumerate(mixed)])


def rank_by_reviews(connection: Connection, project: str, item: str) -> None:
    """Puts an item whose annotators differ before all on which they do not: the next annotator decides it soonest."""
    said = [one.judgement.overall for one in standing(connection, project, item) if one.judgement is not None]
    if (apart := differing(said)) > 0:
        connection.execute(update(seats).where(seats.c.item == item, ~seats.c.filled).values(rank=-1.0 - apart))
