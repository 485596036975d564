"""The review store, on each database that is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.review import (
    Collision,
    ItemTaken,
    Judgement,
    PartJudgement,
    ProjectSettings,
    ReviewStore,
    Source,
    Submission,
)
from models.errors import UserError
from models.types import Rationale

GOOD = Judgement((PartJudgement("observation", "correct"), PartJudgement("planning", "correct")), "accept")
BAD = Judgement((PartJudgement("observation", "wrong", ("invented object",)),), "reject", "there is no cup")


def sources(count: int) -> list[Source]:
    said = [Rationale({"observation": f"a block {n}", "planning": "lift it"}, 0, 4, "teacher") for n in range(count)]
    return [Source("data", f"episode {n}", "d16e57", "lift the block", one) for n, one in enumerate(said)]


@pytest.fixture
def store(review_address) -> ReviewStore:
    return ReviewStore.open(review_address)


def test_two_annotators_an_item_and_no_third(store):
    project = store.create_project(ProjectSettings("first", overlap=2), sources(1), "lead")
    (got,) = store.next_items(project.id, "ann")
    (also,) = store.next_items(project.id, "ben")
    assert got.item == also.item and store.next_items(project.id, "eve") == ()
    first = store.submit(Submission("review-ann-1", got.item.id, "ann", GOOD))
    assert store.submit(Submission("review-ann-1", got.item.id, "ann", GOOD)) == first
    with pytest.raises(ItemTaken):
        store.submit(Submission("review-eve-1", got.item.id, "eve", GOOD))
    second = store.submit(Submission("review-ben-1", got.item.id, "ben", BAD))
    assert store.reviews(project.id) == (first, second)
    (conflict,) = store.conflicts(project.id)
    assert conflict.overall and conflict.parts == ("observation",)
    with pytest.raises(UserError, match="another review"):
        store.submit(Submission("review-ann-1", got.item.id, "ann", BAD))


def test_two_leads_who_change_the_same_version(store):
    project = store.create_project(ProjectSettings("first"), sources(2), "lead")
    changed = store.edit_project(project.id, replace(project.settings, overlap=3), 1, "lead")
    assert (changed.version, store.items(project.id)[0].overlap) == (2, 3)
    with pytest.raises(Collision, match="lead changed the project"):
        store.edit_project(project.id, replace(project.settings, blind=False), 1, "other")
