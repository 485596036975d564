"""Taking reviews, and taking them back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, update

from analysis.review.errors import Collision, IdTaken, ItemTaken
from analysis.review.item import Item, Review
from analysis.review.judgement import Judgement, checked, judgement_to_json
from analysis.review.names import checked_id
from analysis.review.project import DISAGREEMENT
from analysis.review.queue import check_annotator, claim, lease_end
from analysis.review.ranking import rank_by_reviews
from analysis.review.rows import TOOL, find_item, find_review, find_settings, newest_review
from analysis.review.tables import drafts, reviews, seats
from models.errors import UserError

TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Submission:
    """What an annotator sends."""

    id: str  # made by the client, once for each review: sending it again changes nothing
    item: str
    annotator: str
    judgement: Judgement
    seconds: float | None = None


def submit(connection: Connection, sent: Submission, now: datetime) -> Review:
    """Raises ItemTaken if the item has all its annotators, UserError for a review that does not fit the item."""
    item = find_item(connection, sent.item)
    settings = find_settings(connection, item.project)
    judgement = checked(sent.judgement, item.source.rationale.parts, settings.labels)
    checked_id(sent.id)
    seat = claim(connection, item.id, sent.annotator, now)  # waits for the annotator's other window
    if (known := find_review(connection, sent.id)) is not None:
        return _same(known, sent, judgement)
    check_annotator(settings, sent.annotator)
    if seat is None:
        others = "another annotator has" if item.overlap == 1 else f"{item.overlap} others have"
        raise ItemTaken(
            f"{others} this item by now, and it takes {item.overlap}; your draft is kept, go on with the next item"
        )
    before = newest_review(connection, item.id, sent.annotator)
    review = _row(item, sent.annotator, judgement, sent.id, before, now, seconds=sent.seconds)
    insert_review(connection, review, now)
    fill(connection, item.id, seat, sent.annotator)
    if settings.order == DISAGREEMENT:
        rank_by_reviews(connection, item.project, item.id)
    connection.execute(delete(drafts).where(drafts.c.item == item.id, drafts.c.annotator == sent.annotator))
    return review


def undo(connection: Connection, review: str, annotator: str, id: str, now: datetime) -> Review:
    """Adds the row ``id`` that brings back what stood before ``review``; nothing, if it was the annotator's first.

    The annotator keeps the item for the time of a lease. Raises Collision if ``review`` is not their newest.
    """
    undone = find_review(connection, review)
    if undone is None or undone.annotator != annotator:
        raise UserError(f"{annotator!r} has no review {review!r:.80}; only one's own reviews can be undone")
    item = find_item(connection, undone.item)
    settings = find_settings(connection, item.project)
    claim(connection, item.id, annotator, now)  # waits for the annotator's other window
    if (known := find_review(connection, checked_id(id))) is not None:
        if (known.undoes, known.annotator) != (review, annotator):
            raise IdTaken(f"the id {id!r} belongs to another review; make a new id for each")
        return known
    newest = newest_review(connection, item.id, annotator)
    if newest is None or newest.id != review or newest.judgement is None:
        raise Collision("this review is not your newest on the item any more; look at it again")
    earlier = None if newest.supersedes is None else find_review(connection, newest.supersedes)
    row = _row(item, annotator, None if earlier is None else earlier.judgement, id, newest, now, undoes=review)
    insert_review(connection, row, now)
    if row.judgement is None:
        mine = (seats.c.item == item.id, seats.c.annotator == annotator)
        connection.execute(update(seats).where(*mine).values(filled=False, expires=lease_end(settings, now)))
    return row


def fill(connection: Connection, item: str, seat: int, annotator: str) -> None:
    this = (seats.c.item == item, seats.c.seat == seat)
    connection.execute(update(seats).where(*this).values(annotator=annotator, expires=None, filled=True))


def _same(known: Review, sent: Submission, judgement: Judgement) -> Review:
    if (known.item, known.annotator, known.judgement) != (sent.item, sent.annotator, judgement):
        raise IdTaken(f"the id {sent.id!r} belongs to another review; make a new id for each")
    return known


def _row(
    item: Item,
    annotator: str,
    judgement: Judgement | None,
    id: str,
    before: Review | None,
    now: datetime,
    undoes: str | None = None,
    seconds: float | None = None,
) -> Review:
    # the newest row counts: one that comes after another is later, whatever the clocks of two servers say
    time = now if before is None else max(now, before.time + TICK)
    supersedes = None if before is None else before.id
    return Review(id, item.id, item.project, annotator, judgement, time, item.digest, TOOL, supersedes, undoes, seconds)


def insert_review(connection: Connection, review: Review, now: datetime) -> None:
    """Writes the row as it is, stored ``now``."""
    connection.execute(
        insert(reviews).values(
            id=review.id,
            item=review.item,
            project=review.project,
            author=review.annotator,
            time=review.time,
            tool=review.tool,
            digest=review.digest,
            judgement=None if review.judgement is None else judgement_to_json(review.judgement),
            supersedes=review.supersedes,
            undoes=review.undoes,
            seconds=review.seconds,
            origin=review.origin,
            stored=now,
        )
    )
