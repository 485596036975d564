"""The reviews and decisions of an archive, one by one: each is stored, known already, or refused with a sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, insert, select, update

from analysis.review.errors import Collision
from analysis.review.incoming import Line
from analysis.review.item import Review, Source
from analysis.review.judgement import (
    Judgement,
    LabelScheme,
    PartLabels,
    fitting,
    judgement_from_json,
    judgement_to_json,
)
from analysis.review.names import checked_id, checked_name
from analysis.review.project import Project
from analysis.review.queue import claim
from analysis.review.rows import find_review, standing
from analysis.review.submit import fill, insert_review
from analysis.review.tables import seats
from models.errors import UserError


@dataclass(frozen=True)
class Known:
    """The project that rows are put into, and the rationales that came with them."""

    project: Project
    origin: str  # id of the project that the rows were of
    items: Mapping[str, str]  # digest -> item id
    said: Mapping[str, Source]  # digest -> rationale

    def item(self, digest: str) -> str:
        """Raises UserError for a digest that is of no rationale in the file."""
        if digest not in self.items or digest not in self.said:
            raise UserError(f"the file has no rationale of the digest {digest!r:.80}")
        return self.items[digest]

    def id(self, id: str) -> str:
        """Of a review: as it was in its own project; in another one it is another review, and told from the first."""
        checked_id(id)
        if self.origin == self.project.id:
            return id
        return hashlib.sha256(f"{self.project.id} {id}".encode()).hexdigest()[:32]


def restore_reviews(
    connection: Connection, lines: Sequence[Line], known: Known, now: datetime, refused: list[str]
) -> int:
    """Rows as they were, oldest first; those of an annotator for whom an item has no place left are refused."""
    rows: list[tuple[Review, Line]] = []
    for line in (line for line in lines if line.kind == "review"):
        try:
            rows.append((_review(line, known), line))
        except UserError as error:
            refused.append(_named(line, error))
    stored, touched = 0, set()
    for review, line in sorted(rows, key=lambda row: (row[0].time, row[1].number)):
        try:
            if not _is_new(connection, review):
                continue
            seat = claim(connection, review.item, review.annotator, now)
            if seat is None:
                raise UserError(f"{review.annotator!r} reviewed an item that has all its annotators")
            fill(connection, review.item, seat, review.annotator)
            insert_review(connection, review, now)
            touched.add((review.item, review.annotator))
            stored += 1
        except UserError as error:
            refused.append(_named(line, error))
    _leave_undone(connection, known.project.id, touched)
    return stored


def _named(line: Line, error: UserError) -> str:
    said = str(error)
    return said if said.startswith("line ") else f"line {line.number}: {said}"


def _is_new(connection: Connection, review: Review) -> bool:
    before = find_review(connection, review.id)
    if before is None:
        return True
    if (before.item, before.annotator, before.judgement) != (review.item, review.annotator, review.judgement):
        raise Collision(f"the review {review.id!r} is there with another content")
    return False


def _leave_undone(connection: Connection, project: str, touched: set[tuple[str, str]]) -> None:
    """Gives back the places of annotators whose newest row takes back what was there."""
    count = {(one.item, one.annotator) for one in standing(connection, project)}
    for item, annotator in touched - count:
        mine = (seats.c.item == item, seats.c.annotator == annotator)
        connection.execute(update(seats).where(*mine).values(annotator=None, filled=False, expires=None))


def _review(line: Line, known: Known) -> Review:
    digest, supersedes, undoes = line.text("digest"), line.optional("supersedes"), line.optional("undoes")
    item = known.item(digest)
    return Review(
        known.id(line.text("id")),
        item,
        known.project.id,
        checked_name(line.text("annotator"), "an annotator's name"),
        _judgement(line, known.said[digest]),
        line.time("time"),
        digest,
        checked_name(line.text("tool", "unknown"), "the tool's name")[:64],
        None if supersedes is None else known.id(supersedes),
        None if undoes is None else known.id(undoes),
        line.number_or_none("seconds"),
        line.text("origin", "") or ("" if known.origin == known.project.id else f"project {known.origin}"),
    )


def _judgement(line: Line, source: Source) -> Judgement | None:
    """Checked against the rationale; labels are those that the project had then, and a correction may be empty."""
    if line.values.get("judgement") is None:
        return None
    judgement = judgement_from_json(line.object("judgement"))
    parts = {one.part: PartLabels((one.verdict,), one.errors) for one in judgement.parts}
    return fitting(judgement, source.rationale.parts, LabelScheme(parts=parts))


def restore_decisions(
    connection: Connection, table: Table, kind: str, lines: Sequence[Line], known: Known, refused: list[str]
) -> int:
    """Adjudications or gold answers, in their versions."""
    found = connection.execute(select(table).where(table.c.project == known.project.id))
    before = {(row.item, row.version): row.judgement for row in found}
    stored = 0
    for line in (line for line in lines if line.kind == kind):
        try:
            digest, version = line.text("digest"), line.integer("version")
            item, given = known.item(digest), _judgement(line, known.said[digest])
            judgement = None if given is None else judgement_to_json(given)
            if (item, version) in before:
                if before[item, version] != judgement:
                    raise Collision(f"version {version} of this {kind} is there with another content")
                continue
            connection.execute(
                insert(table).values(
                    item=item,
                    version=version,
                    project=known.project.id,
                    judgement=judgement,
                    digest=digest,
                    author=checked_name(line.text("author"), "the author's name"),
                    time=line.time("time"),
                    tool=checked_name(line.text("tool", "unknown"), "the tool's name")[:64],
                )
            )
            stored += 1
        except UserError as error:
            refused.append(_named(line, error))
    return stored
