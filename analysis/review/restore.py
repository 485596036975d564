"""Putting an archive into a database: what is there already stays, what does not fit is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from analysis.review.decisions import newest_golds
from analysis.review.incoming import Line, read_rationale
from analysis.review.item import Source
from analysis.review.names import checked_id, checked_name
from analysis.review.project import Project, selection_from_json, settings_from_json, settings_to_json
from analysis.review.projects import add_items, fit_seats
from analysis.review.restore_rows import Known, restore_decisions, restore_reviews
from analysis.review.rows import find_project, find_projects
from analysis.review.tables import adjudications, golds, items, projects, seats, versions
from models.errors import UserError

FORMAT, VERSION = "vla-lens-reviews", 1


@dataclass(frozen=True)
class Imported:
    """What an import added; a row that was there already counts in none."""

    project: Project
    items: int
    reviews: int  # rows, also of reviews that do not count any more
    adjudications: int
    gold: int
    refused: tuple[str, ...]  # a sentence each


def restore(connection: Connection, lines: Sequence[Line], project: str | None, author: str, now: datetime) -> Imported:
    """Into the project of this id, else into the archive's own, which is made if it is not there.

    Raises UserError for lines that are no archive, or of an item whose rationale is not the one that was reviewed.
    """
    target, origin = _target(connection, lines, project)
    sources = [_source(line) for line in lines if line.kind in ("item", "rationale")]
    added = add_items(connection, target, sources, checked_name(author, "the author's name"), now)
    found = connection.execute(select(items.c.digest, items.c.id).where(items.c.project == target.id))
    ids = {row.digest: row.id for row in found}
    known, refused = Known(target, origin, ids, {source.digest: source for source in sources}), list[str]()
    gold = restore_decisions(connection, golds, "gold", lines, known, refused)
    if gold:
        right = list(newest_golds(connection, target.id))
        connection.execute(update(seats).where(seats.c.item.in_(right)).values(gold=True))
        fit_seats(connection, target.id, target.settings)
    reviews = restore_reviews(connection, lines, known, now, refused)
    decided = restore_decisions(connection, adjudications, "adjudication", lines, known, refused)
    return Imported(find_project(connection, target.id), added, reviews, decided, gold, tuple(refused))


def _source(line: Line) -> Source:
    source = read_rationale(line)
    if line.optional("digest") not in (None, source.digest):
        raise UserError(f"line {line.number}: the rationale was changed since it was written: its digest is another")
    return source


def _target(connection: Connection, lines: Sequence[Line], project: str | None) -> tuple[Project, str]:
    """The project to put lines into, and the id of the one that they are of ("" where they do not say)."""
    heads = [line for line in lines if line.kind == "project"]
    if len(heads) > 1 or (not heads and project is None):
        raise UserError(
            f"the file has {len(heads)} lines of the kind 'project'; expected one, or the name of a project"
        )
    if not heads:
        return find_project(connection, str(project)), ""
    head = heads[0]
    if (head.text("format", ""), head.integer("version", 0)) != (FORMAT, VERSION):
        raise UserError(f"line {head.number} is of no archive {FORMAT} of version {VERSION}")
    id = checked_id(head.text("id"))
    if project is not None:
        return find_project(connection, project), id
    if not find_projects(connection, id):
        _make(connection, id, head, [line for line in lines if line.kind == "version"])
    return find_project(connection, id), id


def _make(connection: Connection, id: str, head: Line, changes: Sequence[Line]) -> None:
    """The project as it was, with all versions of its settings."""
    selection = asdict(selection_from_json(head.object("selection", {})))
    connection.execute(insert(projects).values(id=id, selection=selection, **_written(head)))
    numbers = [line.integer("version") for line in changes]
    if numbers != list(range(1, len(numbers) + 1)):
        raise UserError(f"the versions of the project are {numbers}; expected 1, 2, 3 and so on")
    for line, number in zip(changes or [head], numbers or [1], strict=True):
        settings = settings_to_json(settings_from_json(line.object("settings")))
        connection.execute(insert(versions).values(project=id, version=number, settings=settings, **_written(line)))


def _written(line: Line) -> dict[str, object]:
    tool = checked_name(line.text("tool", "unknown"), "the tool's name")[:64]
    return {"author": checked_name(line.text("author"), "the author's name"), "time": line.time("time"), "tool": tool}
