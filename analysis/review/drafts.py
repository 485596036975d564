"""Reviews that are not finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from analysis.review.item import Draft
from analysis.review.names import checked_id
from analysis.review.queue import has_place
from analysis.review.rows import draft_of, find_draft, find_item, find_review
from analysis.review.tables import drafts, items
from models.errors import UserError

MAX_DRAFT = 10_000_000  # characters of JSON


def save(
    connection: Connection,
    item: str,
    annotator: str,
    review: str,
    content: Mapping[str, Any],
    revision: int,
    now: datetime,
) -> bool:
    """False, and nothing changes, if the review was submitted meanwhile or a newer revision is there."""
    find_item(connection, item)
    try:
        size = len(json.dumps(content))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"the draft cannot be kept: {error}") from None
    if size > MAX_DRAFT:
        raise UserError(f"the draft has {size:,} characters; up to {MAX_DRAFT:,} are kept")
    if find_review(connection, checked_id(review)) is not None:
        return False
    mine = (drafts.c.item == item, drafts.c.annotator == annotator)
    values = {"review": review, "content": dict(content), "revision": revision, "saved": now}
    known = connection.execute(select(drafts).where(*mine).with_for_update()).one_or_none()
    if known is None:
        connection.execute(insert(drafts).values(item=item, annotator=annotator, **values))
    elif known.review == review and known.revision > revision:
        return False
    else:
        connection.execute(update(drafts).where(*mine).values(**values))
    return True


def load(connection: Connection, item: str, annotator: str) -> Draft | None:
    return find_draft(connection, item, annotator)


def of_annotator(connection: Connection, project: str, annotator: str) -> tuple[Draft, ...]:
    """Newest first."""
    query = select(drafts).join(items, items.c.id == drafts.c.item)
    mine = query.where(items.c.project == project, drafts.c.annotator == annotator).order_by(drafts.c.saved.desc())
    return tuple(map(draft_of, connection.execute(mine)))


def stranded(connection: Connection, project: str, annotator: str, now: datetime) -> tuple[Draft, ...]:
    """As `of_annotator`, but only of items that have no place for the annotator now."""
    return tuple(
        draft
        for draft in of_annotator(connection, project, annotator)
        if not has_place(connection, draft.item, annotator, now)
    )


def remove(connection: Connection, item: str, annotator: str) -> None:
    connection.execute(delete(drafts).where(drafts.c.item == item, drafts.c.annotator == annotator))
