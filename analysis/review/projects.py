"""Making and changing projects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, func, insert, select

from analysis.review.errors import Collision
from analysis.review.item import Source
from analysis.review.names import checked_name
from analysis.review.project import (
    Project,
    ProjectChange,
    ProjectSettings,
    Selection,
    settings_from_json,
    settings_to_json,
)
from analysis.review.ranking import rank_items
from analysis.review.rows import TOOL, find_project
from analysis.review.tables import items, projects, seats, versions
from models.errors import UserError

MAX_RATIONALE = 5_000_000  # characters


def create(
    connection: Connection, settings: ProjectSettings, selection: Selection, author: str, now: datetime
) -> Project:
    author, id = checked_name(author, "the author's name"), uuid4().hex[:12]
    written = {"author": author, "time": now, "tool": TOOL}
    connection.execute(insert(projects).values(id=id, selection=asdict(selection), **written))
    stored = settings_to_json(settings.checked())
    connection.execute(insert(versions).values(project=id, version=1, settings=stored, **written))
    return find_project(connection, id)


def add_items(connection: Connection, project: Project, sources: Sequence[Source], author: str, now: datetime) -> int:
    """Adds what is not in the project yet; returns how many that were."""
    known = set(connection.scalars(select(items.c.digest).where(items.c.project == project.id)))
    new = {one.digest: one for one in sources if one.digest not in known}
    rows = [
        _item_row(project.id, len(known) + number, digest, source) | {"author": author, "time": now, "tool": TOOL}
        for number, (digest, source) in enumerate(new.items())
    ]
    if rows:
        connection.execute(insert(items), rows)
        places = range(project.settings.overlap)
        free = {"project": project.id, "rank": 0.0, "gold": False, "filled": False}
        connection.execute(
            insert(seats), [{"item": row["id"], "seat": seat, **free} for row in rows for seat in places]
        )
        rank_items(connection, project.id, project.settings.order, project.selection.seed)
    return len(rows)


def _item_row(project: str, number: int, digest: str, source: Source) -> dict[str, Any]:
    said = source.rationale
    if not said.parts:
        raise UserError(f"a rationale of episode {source.episode!r} has no parts; there is nothing to review")
    if sum(map(len, said.parts.values())) > MAX_RATIONALE:
        raise UserError(f"a rationale of episode {source.episode!r} is longer than {MAX_RATIONALE:,} characters")
    return {
        "id": hashlib.sha256(f"{project} {digest}".encode()).hexdigest()[:24],
        "project": project,
        "number": number,
        "digest": digest,
        "dataset": source.dataset,
        "episode": source.episode,
        "episode_digest": source.episode_digest,
        "instruction": source.instruction,
        "start": said.start,
        "stop": said.stop,
        "rationale_author": said.author,
        "parts": [[name, text] for name, text in said.parts.items()],
        "scores": dict(source.scores),
        "record": source.record,
    }


def change(
    connection: Connection, id: str, settings: ProjectSettings, version: int, author: str, now: datetime
) -> Project:
    """``version``: the one that was changed. Raises Collision if it is not the newest any more."""
    before = find_project(connection, id)
    if before.version != version:
        raise Collision(
            f"{before.changed_by} changed the project {before.settings.name!r} meanwhile (version {before.version}, "
            f"not {version}); look at it and change it again"
        )
    connection.execute(
        insert(versions).values(
            project=id,
            version=version + 1,
            settings=settings_to_json(settings.checked()),
            author=checked_name(author, "the author's name"),
            time=now,
            tool=TOOL,
        )
    )
    if (settings.overlap, settings.gold_overlap) != (before.settings.overlap, before.settings.gold_overlap):
        fit_seats(connection, id, settings)
    if settings.order != before.settings.order:
        rank_items(connection, id, settings.order, before.selection.seed)
    return find_project(connection, id)


def fit_seats(connection: Connection, project: str, settings: ProjectSettings, only: str | None = None) -> None:
    """Gives each item (or only one) the places it should have. Raises UserError if more are filled already."""
    query = select(seats).where(seats.c.project == project).order_by(seats.c.item, seats.c.seat)
    if only is not None:
        query = query.where(seats.c.item == only)
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.with_for_update()):
        found.setdefault(row.item, []).append(row)
    added: list[Mapping[str, Any]] = []
    for item, rows in found.items():
        wanted = settings.overlap_of(rows[0].gold)
        filled = sum(row.filled for row in rows)
        if filled > wanted:
            raise UserError(f"an item has {filled} reviews already; the overlap cannot be lowered to {wanted}")
        last = max(row.seat for row in rows)
        copied = {name: getattr(rows[0], name) for name in ("item", "project", "rank", "gold")}
        added += [copied | {"seat": last + 1 + n, "filled": False} for n in range(wanted - len(rows))]
        spare = sorted((row for row in rows if not row.filled), key=lambda row: row.annotator is not None)
        for row in spare[: max(0, len(rows) - wanted)]:
            connection.execute(delete(seats).where(seats.c.item == item, seats.c.seat == row.seat))
    if added:
        connection.execute(insert(seats), added)


def history(connection: Connection, id: str) -> tuple[ProjectChange, ...]:
    """All versions, oldest first."""
    find_project(connection, id)
    found = connection.execute(select(versions).where(versions.c.project == id).order_by(versions.c.version))
    return tuple(
        ProjectChange(row.version, settings_from_json(row.settings), row.author, row.time, tool=row.tool)
        for row in found
    )


def count_items(connection: Connection, project: str) -> int:
    return int(connection.scalar(select(func.count()).where(items.c.project == project)) or 0)
