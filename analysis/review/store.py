"""The review store: projects, the queue, reviews that are never lost. docs/reviews.md says what it promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError, OperationalError

from analysis.review import decisions, drafts, projects, queue
from analysis.review.database import Database, open_database
from analysis.review.errors import Collision
from analysis.review.incoming import Line
from analysis.review.item import Adjudication, Assignment, Conflict, Draft, Gold, Item, Progress, Review, Source
from analysis.review.judgement import Judgement
from analysis.review.names import checked_name
from analysis.review.progress import progress
from analysis.review.project import Project, ProjectChange, ProjectSettings, Selection
from analysis.review.restore import Imported, restore
from analysis.review.rows import (
    find_item,
    find_project,
    find_projects,
    find_review,
    find_settings,
    item_of,
    review_of,
    select_items,
    standing,
)
from analysis.review.submit import Submission, submit, undo
from analysis.review.tables import items, reviews

T = TypeVar("T")
ATTEMPTS = 5  # at a transaction that met another one
EVERYTHING = Selection()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ReviewStore:
    """Reviews in SQLite or PostgreSQL; make one with `ReviewStore.open`. Any number of threads and processes may.

    What a method that writes has returned is on disk. Every method raises ReviewsUnavailable where the database cannot
    be reached, read or written, and UserError for names and ids that cannot be.
    """

    database: Database
    clock: Callable[[], datetime] = _utc_now

    @classmethod
    def open(cls, address: str | os.PathLike[str]) -> ReviewStore:
        """``address``: path of an SQLite file, made if it is not there, or ``postgresql+psycopg://user@host/name``."""
        return cls(open_database(address))

    def create_project(
        self,
        settings: ProjectSettings,
        sources: Sequence[Source],
        author: str,
        selection: Selection = EVERYTHING,
    ) -> Project:
        """A new project of these rationales; the same one twice counts once. ``selection``: how they were found."""

        def work(connection: Connection, now: datetime) -> Project:
            project = projects.create(connection, settings, selection, author, now)
            projects.add_items(connection, project, sources, project.created_by, now)
            return project

        return self._write(work)

    def add_items(self, project: str, sources: Sequence[Source], author: str) -> int:
        """Adds rationales that the project does not have; returns how many."""
        author = checked_name(author, "the author's name")
        return self._write(lambda c, now: projects.add_items(c, find_project(c, project), sources, author, now))

    def edit_project(self, project: str, settings: ProjectSettings, version: int, author: str) -> Project:
        """A new version of the settings. Raises Collision if ``version`` is not the newest any more."""
        return self._write(lambda c, now: projects.change(c, project, settings, version, author, now))

    def projects(self) -> tuple[Project, ...]:
        """All, newest first."""
        return self._read(find_projects)

    def project(self, id: str) -> Project:
        """Raises UserError if there is none."""
        return self._read(lambda c: find_project(c, id))

    def project_history(self, id: str) -> tuple[ProjectChange, ...]:
        """All versions of the settings, oldest first."""
        return self._read(lambda c: projects.history(c, id))

    def items(self, project: str, first: int = 0, count: int | None = None) -> tuple[Item, ...]:
        """Items ``first`` and on, in the order in which they were added."""
        query = select_items().where(items.c.project == project, items.c.number >= first).order_by(items.c.number)
        return self._read(lambda c: tuple(map(item_of, c.execute(query.limit(count)))))

    def item(self, id: str) -> Item:
        """Raises UserError if there is none."""
        return self._read(lambda c: find_item(c, id))

    def next_items(
        self, project: str, annotator: str, count: int = 2, skip: Collection[str] = ()
    ) -> tuple[Assignment, ...]:
        """Up to ``count`` items for the annotator, each leased to them: first those they have already, renewed.

        The first is to be reviewed now, the others can be fetched ahead. ``skip``: ids of items not to give.
        Raises UserError if the project is closed or not for this annotator.
        """
        annotator = checked_name(annotator, "an annotator's name")
        found: list[Assignment] = []

        def work(connection: Connection, now: datetime) -> None:
            settings = find_settings(connection, project)
            queue.check_annotator(settings, annotator)
            end = queue.lease_end(settings, now)
            found[:] = queue.held(connection, project, annotator, skip, count, end)
            while len(found) < count:
                one = queue.take(connection, project, annotator, skip, settings, now, wait=False)
                if one is None:
                    break
                found.append(one)

        def wait_for_one(connection: Connection, now: datetime) -> Assignment | None:
            settings = find_settings(connection, project)
            return queue.take(connection, project, annotator, skip, settings, now, wait=True)

        self._write(work)
        if not found and count and self.database.kind != "sqlite" and (one := self._write(wait_for_one)) is not None:
            found.append(one)
        return tuple(found)

    def renew(self, item: str, annotator: str) -> bool:
        """Keeps the item for the annotator for the time of another lease; False if they do not have it any more."""

        def work(connection: Connection, now: datetime) -> bool:
            settings = find_settings(connection, find_item(connection, item).project)
            return queue.renew(connection, item, annotator, queue.lease_end(settings, now))

        return self._write(work)

    def release(self, item: str, annotator: str) -> bool:
        """Gives the item back to the queue; a draft stays. False if the annotator did not have it."""
        return self._write(lambda c, now: queue.release(c, item, annotator))

    def submit(self, sent: Submission) -> Review:
        """Stores a review and removes the draft. The same submission again gives the same review, stored once.

        Raises ItemTaken if the item has all its annotators, UserError for a review that does not fit the item.
        """
        checked_name(sent.annotator, "an annotator's name")
        return self._write(lambda c, now: submit(c, sent, now))

    def undo(self, review: str, annotator: str, id: str) -> Review:
        """Adds a row ``id`` (made by the client) that brings back what stood before ``review``, or nothing.

        The undone review stays in the store; the annotator has the item again. Raises Collision if it is not their
        newest on the item.
        """
        return self._write(lambda c, now: undo(c, review, annotator, id, now))

    def review(self, id: str) -> Review | None:
        """The row of this id, whether it counts or not."""
        return self._read(lambda c: find_review(c, id))

    def reviews(self, project: str, item: str | None = None) -> tuple[Review, ...]:
        """The reviews that count: of each annotator on each item the newest, unless it was undone."""
        return self._read(lambda c: standing(c, project, item))

    def all_reviews(self) -> tuple[Review, ...]:
        """The reviews that count in all projects."""
        return self._read(lambda c: standing(c, None))

    def shown_reviews(self, item: str, annotator: str) -> tuple[Review, ...]:
        """The reviews that count and that an annotator may see: in a blind project their own only."""

        def work(connection: Connection) -> tuple[Review, ...]:
            project = find_item(connection, item).project
            blind = find_settings(connection, project).blind
            found = standing(connection, project, item)
            return tuple(one for one in found if not blind or one.annotator == annotator)

        return self._read(work)

    def review_history(self, project: str, annotator: str | None = None) -> tuple[Review, ...]:
        """Every row of the project (of one annotator) that was ever written, oldest first."""
        query = select(reviews).where(reviews.c.project == project).order_by(reviews.c.time, reviews.c.number)
        if annotator is not None:
            query = query.where(reviews.c.author == annotator)
        return self._read(lambda c: tuple(map(review_of, c.execute(query))))

    def save_draft(self, item: str, annotator: str, review: str, content: Mapping[str, Any], revision: int = 0) -> bool:
        """Keeps what is not finished, and the item for the annotator if they have it.

        ``review``: id that the review will have. False, and nothing changes, if it was submitted meanwhile or a newer
        revision is there: an autosave that comes late does no harm.
        """
        annotator = checked_name(annotator, "an annotator's name")

        def work(connection: Connection, now: datetime) -> bool:
            saved = drafts.save(connection, item, annotator, review, content, revision, now)
            settings = find_settings(connection, find_item(connection, item).project)
            queue.renew(connection, item, annotator, queue.lease_end(settings, now))
            return saved

        return self._write(work)

    def draft(self, item: str, annotator: str) -> Draft | None:
        return self._read(lambda c: drafts.load(c, item, annotator))

    def drafts(self, project: str, annotator: str) -> tuple[Draft, ...]:
        """Newest first; also of items that others have by now."""
        return self._read(lambda c: drafts.of_annotator(c, project, annotator))

    def stranded_drafts(self, project: str, annotator: str) -> tuple[Draft, ...]:
        """Those of `drafts` that cannot be sent now: others have all places of the item."""
        return self._read(lambda c: drafts.stranded(c, project, annotator, self.clock()))

    def has_place(self, item: str, annotator: str) -> bool:
        """Whether a review of this annotator would be taken now: one of the item's places is theirs, or is free."""
        return self._read(lambda c: queue.has_place(c, item, annotator, self.clock()))

    def delete_draft(self, item: str, annotator: str) -> None:
        self._write(lambda c, now: drafts.remove(c, item, annotator))

    def conflicts(self, project: str, open_only: bool = True) -> tuple[Conflict, ...]:
        """Items whose annotators differ; ``open_only``: and that were not adjudicated since the last review."""
        return self._read(lambda c: decisions.conflicts(c, project, open_only))

    def adjudicate(self, item: str, judgement: Judgement | None, author: str, version: int) -> Adjudication:
        """A lead's decision, None: taken back. ``version``: the newest one that the lead saw, 0 for none; else raises
        Collision."""
        return self._write(lambda c, now: decisions.adjudicate(c, item, judgement, version, author, now))

    def adjudications(self, project: str) -> dict[str, Adjudication]:
        """Item id -> the decision that counts."""
        return self._read(lambda c: decisions.newest_adjudications(c, project))

    def adjudication_history(self, project: str) -> tuple[Adjudication, ...]:
        """Every decision, oldest first, also those that were replaced."""
        return self._read(lambda c: decisions.adjudication_history(c, project))

    def set_gold(self, item: str, judgement: Judgement | None, author: str, version: int) -> Gold:
        """The known answer for an item, None: no longer. ``version`` as in `adjudicate`."""
        return self._write(lambda c, now: decisions.set_gold(c, item, judgement, version, author, now))

    def gold(self, project: str) -> dict[str, Gold]:
        """Item id -> the answer that counts. Not to be shown to annotators."""
        return self._read(lambda c: decisions.newest_golds(c, project))

    def gold_history(self, project: str) -> tuple[Gold, ...]:
        """Every answer, oldest first, also those that were replaced."""
        return self._read(lambda c: decisions.gold_history(c, project))

    def restore(self, lines: Sequence[Line], author: str, project: str | None = None) -> Imported:
        """Puts the lines of an archive (`analysis.review.incoming.read_lines`) in: all that fits, or nothing at all.

        Into ``project``, else into the archive's own, which is made if it is not there. What is there already stays;
        rows that do not fit are named in the result. Raises UserError for lines that are no archive.
        """
        return self._write(lambda c, now: restore(c, lines, project, author, now))

    def progress(self, project: str) -> Progress:
        return self._read(lambda c: progress(c, project, self.clock()))

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.database.reading() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection, datetime], T]) -> T:
        """Once more where another transaction got in the way; `work` must look at everything anew."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.database.writing() as connection:
                    return work(connection, self.clock())
            except (IntegrityError, OperationalError) as error:
                if attempt == ATTEMPTS:
                    raise Collision("others changed the same thing at the same time; try again") from error
        raise AssertionError("unreachable")
