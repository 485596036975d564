"""The three places at which rationales are judged: the queue, the settling of conflicts, the making of gold answers.

Each hands out items and takes judgements; the page is the same for all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from analysis.people import Person
from analysis.review import Judgement, Project, ReviewStore, Submission
from app.review_items import draft_facts, item_facts, listed, review_facts
from models.errors import UserError


@dataclass(frozen=True)
class Sent:
    """A judgement as the page sends it."""

    id: str
    item: str
    judgement: Judgement | None  # None: a lead takes a decision back
    seconds: float | None
    version: int  # of the decision that stood there when it was made; 0 for none


class Desk(Protocol):
    for_leads: bool

    def hand_out(
        self, store: ReviewStore, project: Project, person: Person, count: int, skip: Collection[str]
    ) -> list[dict[str, Any]]: ...

    def take(self, store: ReviewStore, person: Person, sent: Sent) -> dict[str, Any]: ...


class Queue:
    """Items leased to the annotator, one after the other."""

    for_leads = False

    def hand_out(
        self, store: ReviewStore, project: Project, person: Person, count: int, skip: Collection[str]
    ) -> list[dict[str, Any]]:
        out = []
        for given in store.next_items(project.id, person.name, count, skip):
            others = [] if project.settings.blind else store.shown_reviews(given.item.id, person.name)
            facts = item_facts(given.item, project.settings.labels)
            facts |= {"expires": given.expires.isoformat(), "draft": draft_facts(given.draft), "version": 0}
            out.append(facts | {"reviews": listed(one for one in others if one.annotator != person.name)})
        return out

    def take(self, store: ReviewStore, person: Person, sent: Sent) -> dict[str, Any]:
        if sent.judgement is None:
            raise UserError("'judgement' is null; a review is taken back with 'undo'")
        return review_facts(store.submit(Submission(sent.id, sent.item, person.name, sent.judgement, sent.seconds)))


class Conflicts:
    """Items whose annotators differ; a lead decides and says why."""

    for_leads = True

    def hand_out(
        self, store: ReviewStore, project: Project, person: Person, count: int, skip: Collection[str]
    ) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for conflict in store.conflicts(project.id):
            if conflict.item.id in skip or len(out) == count:
                continue
            decided = conflict.adjudication
            facts = item_facts(conflict.item, project.settings.labels) | {"reviews": listed(conflict.reviews)}
            facts |= {
                "differ": list(dict.fromkeys((*conflict.parts, *conflict.corrections))),
                "version": decided.version if decided else 0,
            }
            out.append(facts)
        return out

    def take(self, store: ReviewStore, person: Person, sent: Sent) -> dict[str, Any]:
        if sent.judgement is not None and not sent.judgement.comment.strip():
            raise UserError("a decision needs a reason; write it into the comment")
        made = store.adjudicate(sent.item, sent.judgement, person.name, sent.version)
        return {"id": sent.id, "item": made.item, "version": made.version, "time": made.time.isoformat()}


class GoldAnswers:
    """Items without a known answer, in the project's order; what a lead says becomes the answer."""

    for_leads = True

    def hand_out(
        self, store: ReviewStore, project: Project, person: Person, count: int, skip: Collection[str]
    ) -> list[dict[str, Any]]:
        known = store.gold(project.id)
        versions = {one.item: one.version for one in store.gold_history(project.id)}  # also of answers taken back
        items = [one for one in store.items(project.id) if one.id not in known and one.id not in skip][:count]
        return [item_facts(one, project.settings.labels) | {"version": versions.get(one.id, 0)} for one in items]

    def take(self, store: ReviewStore, person: Person, sent: Sent) -> dict[str, Any]:
        made = store.set_gold(sent.item, sent.judgement, person.name, sent.version)
        return {"id": sent.id, "item": made.item, "version": made.version, "time": made.time.isoformat()}


DESKS: Mapping[str, Desk] = {"review": Queue(), "adjudicate": Conflicts(), "gold": GoldAnswers()}
