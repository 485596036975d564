"""A lead's word: adjudications of items in conflict, and gold, the answers that annotators are checked against."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from analysis.review.errors import Collision
from analysis.review.item import Adjudication, Conflict, Gold, Item, Review
from analysis.review.judgement import Judgement, checked, judgement_to_json
from analysis.review.names import checked_name
from analysis.review.projects import fit_seats
from analysis.review.rows import TOOL, find_item, find_settings, item_of, judgement_of, select_items, standing
from analysis.review.tables import adjudications, golds, items, seats


def adjudicate(
    connection: Connection, item: str, judgement: Judgement | None, version: int, author: str, now: datetime
) -> Adjudication:
    """``version``: the newest that the lead saw, 0 for none. None takes the decision back; the row that it was stays.

    The same again, after a lost answer, is stored once. Raises Collision if somebody decided since.
    """
    number = _decide(connection, adjudications, item, judgement, version, author, now)
    row = connection.execute(_select(adjudications, item).where(adjudications.c.version == number)).one()
    return _adjudication(row)


def set_gold(
    connection: Connection, item: str, judgement: Judgement | None, version: int, author: str, now: datetime
) -> Gold:
    """As `adjudicate`; None: the item is gold no longer."""
    number = _decide(connection, golds, item, judgement, version, author, now)
    connection.execute(update(seats).where(seats.c.item == item).values(gold=judgement is not None))
    found = find_item(connection, item)
    fit_seats(connection, found.project, find_settings(connection, found.project), only=item)
    return _gold(connection.execute(_select(golds, item).where(golds.c.version == number)).one())


def _decide(
    connection: Connection,
    table: Table,
    item: str,
    judgement: Judgement | None,
    version: int,
    author: str,
    now: datetime,
) -> int:
    found = find_item(connection, item)
    newest = connection.execute(_select(table, item).order_by(table.c.version.desc()).limit(1)).one_or_none()
    stored = None
    if judgement is not None:
        labels = find_settings(connection, found.project).labels
        stored = judgement_to_json(checked(judgement, found.source.rationale.parts, labels))
    if newest is not None and (newest.version, newest.author, newest.judgement) == (version + 1, author, stored):
        return version + 1
    if (0 if newest is None else newest.version) != version:
        who = "nobody" if newest is None else newest.author
        raise Collision(f"{who} decided about this item meanwhile; look at that decision and decide again")
    connection.execute(
        insert(table).values(
            item=item,
            version=version + 1,
            project=found.project,
            judgement=stored,
            digest=found.digest,
            author=checked_name(author, "the author's name"),
            time=now,
            tool=TOOL,
        )
    )
    return version + 1


def _select(table: Table, item: str) -> Any:
    return select(table).where(table.c.item == item)


def _newest(connection: Connection, table: Table, project: str) -> list[Any]:
    last = select(table.c.item, func.max(table.c.version).label("version")).where(table.c.project == project)
    newest = last.group_by(table.c.item).subquery()
    both = (newest.c.item == table.c.item) & (newest.c.version == table.c.version)
    return list(connection.execute(select(table).join(newest, both).order_by(table.c.time)))


def _adjudication(row: Any) -> Adjudication:
    return Adjudication(row.item, row.version, judgement_of(row.judgement), row.author, row.time, row.digest, row.tool)


def _gold(row: Any) -> Gold:
    return Gold(row.item, row.version, judgement_of(row.judgement), row.author, row.time, row.digest, row.tool)


def newest_adjudications(connection: Connection, project: str) -> dict[str, Adjudication]:
    """Item id -> the adjudication that counts; those that were taken back are left out."""
    found = _newest(connection, adjudications, project)
    return {row.item: _adjudication(row) for row in found if row.judgement is not None}


def newest_golds(connection: Connection, project: str) -> dict[str, Gold]:
    """Item id -> the gold answer that counts; items that are gold no longer are left out."""
    return {row.item: _gold(row) for row in _newest(connection, golds, project) if row.judgement is not None}


def adjudication_history(connection: Connection, project: str) -> tuple[Adjudication, ...]:
    """Every version that was ever written, oldest first."""
    query = select(adjudications).where(adjudications.c.project == project)
    rows = connection.execute(query.order_by(adjudications.c.time, adjudications.c.item, adjudications.c.version))
    return tuple(map(_adjudication, rows))


def gold_history(connection: Connection, project: str) -> tuple[Gold, ...]:
    """As `adjudication_history`."""
    query = select(golds).where(golds.c.project == project)
    return tuple(map(_gold, connection.execute(query.order_by(golds.c.time, golds.c.item, golds.c.version))))


def conflicts(connection: Connection, project: str, open_only: bool) -> tuple[Conflict, ...]:
    """Items whose annotators differ in a verdict or a correction, in the order of the project."""
    said: dict[str, list[Review]] = {}
    for review in standing(connection, project):
        said.setdefault(review.item, []).append(review)
    decided = {row.item: _adjudication(row) for row in _newest(connection, adjudications, project)}
    found = [id for id, reviews in said.items() if _differ(reviews)]
    out = []
    for item in _items(connection, project, found):
        conflict = _conflict(item, tuple(said[item.id]), decided.get(item.id))
        if conflict.open or not open_only:
            out.append(conflict)
    return tuple(out)


def _items(connection: Connection, project: str, ids: list[str]) -> list[Item]:
    if not ids:
        return []
    wanted = set(ids)
    query = select_items().where(items.c.project == project).order_by(items.c.number)
    return [item_of(row) for row in connection.execute(query) if row.id in wanted]


def _differ(reviews: list[Review]) -> bool:
    judgements = [review.judgement for review in reviews if review.judgement is not None]
    return len({one.overall for one in judgements}) > 1 or bool(_parts(judgements) or _corrections(judgements))


def _parts(judgements: list[Judgement]) -> tuple[str, ...]:
    verdicts: dict[str, set[str]] = {}
    for judgement in judgements:
        for one in judgement.parts:
            verdicts.setdefault(one.part, set()).add(one.verdict)
    return tuple(part for part, found in verdicts.items() if len(found) > 1)


def _corrections(judgements: list[Judgement]) -> tuple[str, ...]:
    texts: dict[str, set[str | None]] = {}
    for judgement in judgements:
        for one in judgement.parts:
            texts.setdefault(one.part, set()).add(one.correction)
    return tuple(part for part, found in texts.items() if len(found) > 1)


def _conflict(item: Item, reviews: tuple[Review, ...], decided: Adjudication | None) -> Conflict:
    judgements = [review.judgement for review in reviews if review.judgement is not None]
    overall = len({one.overall for one in judgements}) > 1
    stands = decided is not None and decided.judgement is not None
    is_open = not stands or any(review.time > decided.time for review in reviews if decided is not None)
    return Conflict(item, reviews, _parts(judgements), overall, _corrections(judgements), decided, is_open)
