"""The review store, on each database that is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.review import (
    Collision,
    ItemTaken,
    Judgement,
    LabelScheme,
    PartJudgement,
    PartLabels,
    ProjectSettings,
    ReviewStore,
    Submission,
)
from analysis.review.judgement import checked
from models.errors import UserError
from tests.analysis.review_world import BAD, GOOD, Clock, corrected, open_store, say, sources


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(review_address, clock) -> ReviewStore:
    return open_store(review_address, clock)


@pytest.mark.slow
def test_two_annotators_an_item_and_no_third(store):
    project = store.create_project(ProjectSettings("first", overlap=2), sources(1), "lead")
    (got,) = store.next_items(project.id, "ann")
    (also,) = store.next_items(project.id, "ben")
    assert got.item == also.item and store.next_items(project.id, "eve") == ()
    first = say(store, got.item.id, "ann", GOOD)
    assert say(store, got.item.id, "ann", GOOD) == first  # sent again after a lost answer
    with pytest.raises(ItemTaken, match="your draft is kept"):
        say(store, got.item.id, "eve", GOOD)
    second = say(store, got.item.id, "ben", BAD)
    assert store.reviews(project.id) == (first, second)
    with pytest.raises(UserError, match="another review"):
        say(store, got.item.id, "ann", BAD)
    assert [one.original for one in first.judgement.parts] == ["a block 0", "lift it"]
    assert (first.tool[:9], first.time, first.digest) == ("vla-lens ", Clock().now, got.item.digest)


def test_leases_run_out_and_are_taken_by_others(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    clock.go(59)
    assert store.next_items(project.id, "ben") == ()
    assert store.renew(mine.item.id, "ann")
    clock.go(59)
    assert store.next_items(project.id, "ben") == ()
    clock.go(2)
    (theirs,) = store.next_items(project.id, "ben")
    assert theirs.item == mine.item and not store.renew(mine.item.id, "ann")
    with pytest.raises(ItemTaken):
        say(store, mine.item.id, "ann", GOOD)
    say(store, mine.item.id, "ben", GOOD)
    assert store.next_items(project.id, "ann") == ()


def test_a_lease_that_ran_out_still_serves_while_nobody_took_the_item(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    clock.go(600)
    assert say(store, mine.item.id, "ann", GOOD).annotator == "ann"


def test_the_following_item_comes_along_and_stays_with_the_annotator(store):
    project = store.create_project(ProjectSettings("first"), sources(3), "lead")
    now, ahead = store.next_items(project.id, "ann")
    assert store.next_items(project.id, "ann") == (now, ahead)
    (third,) = store.next_items(project.id, "ben")
    assert len({now.item.id, ahead.item.id, third.item.id}) == 3
    say(store, now.item.id, "ann", GOOD)
    assert [one.item for one in store.next_items(project.id, "ann")] == [ahead.item]
    assert store.next_items(project.id, "ann", skip=[ahead.item.id]) == ()
    assert store.release(ahead.item.id, "ann") and not store.release(ahead.item.id, "ann")
    assert [one.item for one in store.next_items(project.id, "eve")] == [ahead.item]


def test_an_item_is_never_given_to_an_annotator_twice(store):
    project = store.create_project(ProjectSettings("first", overlap=3), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann", count=5)
    say(store, mine.item.id, "ann", GOOD)
    assert store.next_items(project.id, "ann") == ()


def test_closed_projects_and_projects_for_some(store):
    settings = ProjectSettings("first", annotators=("ann",))
    project = store.create_project(settings, sources(1), "lead")
    with pytest.raises(UserError, match="'ben' is not among the annotators"):
        store.next_items(project.id, "ben")
    (mine,) = store.next_items(project.id, "ann")
    store.edit_project(project.id, replace(settings, closed=True), 1, "lead")
    with pytest.raises(UserError, match="is closed"):
        say(store, mine.item.id, "ann", GOOD)


def test_the_newest_review_counts_and_undo_goes_back(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    item = mine.item.id
    first = say(store, item, "ann", GOOD, "review-1")
    second = say(store, item, "ann", BAD, "review-2")  # the clock stands still, and yet the second is newer
    assert store.reviews(project.id) == (second,) and second.supersedes == "review-1"
    back = store.undo("review-2", "ann", "undo-of-2")
    assert store.undo("review-2", "ann", "undo-of-2") == back
    assert (back.judgement, back.undoes) == (first.judgement, "review-2") and store.reviews(project.id) == (back,)
    with pytest.raises(Collision, match="not your newest"):
        store.undo("review-2", "ann", "undo-again")
    with pytest.raises(UserError, match="only one's own"):
        store.undo("undo-of-2", "ben", "undo-others")
    redone = store.undo("undo-of-2", "ann", "undo-of-undo")
    assert redone.judgement == second.judgement
    assert [row.id for row in store.review_history(project.id)] == ["review-1", "review-2", "undo-of-2", "undo-of-undo"]


@pytest.mark.slow
def test_after_undoing_the_only_review_the_annotator_has_the_item_again(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    say(store, mine.item.id, "ann", GOOD, "review-1")
    assert store.undo("review-1", "ann", "undo-of-1").judgement is None and store.reviews(project.id) == ()
    assert store.next_items(project.id, "ben") == ()
    assert [one.item for one in store.next_items(project.id, "ann")] == [mine.item]
    clock.go(61)
    (theirs,) = store.next_items(project.id, "ben")
    say(store, theirs.item.id, "ben", GOOD)
    with pytest.raises(ItemTaken):
        say(store, mine.item.id, "ann", GOOD, "review-2")


@pytest.mark.slow
def test_drafts(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    item = mine.item.id
    assert store.draft(item, "ann") is None
    assert store.save_draft(item, "ann", "review-1", {"comment": "hm", "parts": [1, None]}, 2)
    assert not store.save_draft(item, "ann", "review-1", {"comment": "older"}, 1)
    clock.go(59)
    assert store.save_draft(item, "ann", "review-1", {"comment": "newer"}, 3)  # keeps the item as well
    clock.go(59)
    assert store.next_items(project.id, "ben") == ()
    (again,) = store.next_items(project.id, "ann")
    assert again.draft == store.draft(item, "ann") and again.draft.content == {"comment": "newer"}
    assert store.drafts(project.id, "ann") == (again.draft,)
    say(store, item, "ann", GOOD, "review-1")
    assert store.draft(item, "ann") is None
    assert not store.save_draft(item, "ann", "review-1", {"comment": "late"}, 9) and store.draft(item, "ann") is None
    store.save_draft(item, "ann", "review-2", {}, 0)
    store.delete_draft(item, "ann")
    assert store.draft(item, "ann") is None
    with pytest.raises(UserError, match="cannot be kept"):
        store.save_draft(item, "ann", "review-2", {"time": clock}, 0)


def test_a_draft_outlives_the_lease(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(1), "lead")
    (mine,) = store.next_items(project.id, "ann")
    store.save_draft(mine.item.id, "ann", "review-1", {"comment": "hm"})
    clock.go(61)
    say(store, mine.item.id, "ben", GOOD)
    with pytest.raises(ItemTaken):
        say(store, mine.item.id, "ann", GOOD, "review-1")
    (kept,) = store.drafts(project.id, "ann")
    assert kept.content == {"comment": "hm"}


def test_two_leads_who_change_the_same_version(store):
    project = store.create_project(ProjectSettings("first"), sources(2), "lead")
    changed = store.edit_project(project.id, replace(project.settings, overlap=3), 1, "lead")
    assert (changed.version, store.items(project.id)[0].overlap) == (2, 3)
    with pytest.raises(Collision, match="lead changed the project"):
        store.edit_project(project.id, replace(project.settings, blind=False), 1, "other")
    history = store.project_history(project.id)
    assert [(one.version, one.settings.overlap, one.author) for one in history] == [(1, 1, "lead"), (2, 3, "lead")]
    assert store.project(project.id) == changed == store.projects()[0]


def test_the_overlap_is_not_lowered_below_what_was_reviewed(store):
    project = store.create_project(ProjectSettings("first", overlap=3), sources(1), "lead")
    item = store.items(project.id)[0].id
    for name in ("ann", "ben"):
        say(store, item, name, GOOD)
    with pytest.raises(UserError, match="has 2 reviews already"):
        store.edit_project(project.id, replace(project.settings, overlap=1), 1, "lead")
    store.edit_project(project.id, replace(project.settings, overlap=2), 1, "lead")
    assert store.items(project.id)[0].overlap == 2 and store.next_items(project.id, "eve") == ()


def test_work_that_came_too_late_is_found_again(store, clock):
    project = store.create_project(ProjectSettings("first", lease_seconds=60), sources(2), "lead")
    late, mine = (one.item.id for one in store.next_items(project.id, "ann"))
    for item in (late, mine):
        store.save_draft(item, "ann", f"draft-of-{item}", {"comment": "long work"})
    assert store.has_place(late, "ann") and not store.has_place(late, "ben")
    clock.go(61)
    assert store.has_place(late, "ben") and store.stranded_drafts(project.id, "ann") == ()
    say(store, late, "ben", GOOD)
    assert not store.has_place(late, "ann")
    (kept,) = store.stranded_drafts(project.id, "ann")
    assert (kept.item, kept.content) == (late, {"comment": "long work"})
    with pytest.raises(ItemTaken, match="another annotator has this item by now, and it takes 1"):
        say(store, late, "ann", GOOD)


def test_conflicts_and_adjudication(store, clock):
    project = store.create_project(ProjectSettings("first", overlap=3), sources(3), "lead")
    one, other, same = (item.id for item in store.items(project.id))
    for item, judgement in ((one, BAD), (other, corrected("push it")), (same, GOOD)):
        say(store, item, "ann", GOOD)
        say(store, item, "ben", judgement)
    first, second = store.conflicts(project.id)
    assert (first.item.id, first.parts, first.overall, first.open) == (one, ("observation",), True, True)
    assert (second.item.id, second.parts, second.corrections) == (other, ("planning",), ("planning",))
    clock.go(1)
    decision = store.adjudicate(one, BAD, "lead", 0)
    assert [found.item.id for found in store.conflicts(project.id)] == [other]
    with pytest.raises(Collision, match="lead decided"):
        store.adjudicate(one, GOOD, "second lead", 0)
    newer = store.adjudicate(one, GOOD, "second lead", 1)
    assert store.adjudications(project.id) == {one: newer}
    assert store.adjudication_history(project.id) == (decision, newer)
    clock.go(1)
    say(store, one, "eve", GOOD)  # reviewed again since
    assert [found.item.id for found in store.conflicts(project.id)] == [one, other]


@pytest.mark.slow
def test_gold(store):
    project = store.create_project(ProjectSettings("first", gold_overlap=3, gold_every=1), sources(4), "lead")
    gold = store.items(project.id)[2].id
    answer = store.set_gold(gold, BAD, "lead", 0)
    assert store.gold(project.id) == {gold: answer} and store.item(gold).overlap == 3
    order = []
    for _ in range(4):
        (mine, *_) = store.next_items(project.id, "ann", count=1)
        say(store, mine.item.id, "ann", GOOD)
        order.append(mine.item.id)
    assert order[1] == gold  # after one other
    assert [one.item.id for one in store.next_items(project.id, "ben")] == [gold]
    store.set_gold(gold, None, "lead", 1)
    assert store.gold(project.id) == {} and len(store.gold_history(project.id)) == 2


def test_a_decision_is_taken_back_by_a_version_without_a_judgement(store):
    project = store.create_project(ProjectSettings("first", overlap=2), sources(1), "lead")
    item = store.items(project.id)[0].id
    say(store, item, "ann", GOOD)
    say(store, item, "ben", BAD)
    made = store.adjudicate(item, BAD, "lead", 0)
    gone = store.adjudicate(item, None, "lead", 1)
    assert store.adjudicate(item, None, "lead", 1) == gone  # sent again after a lost answer
    assert store.adjudications(project.id) == {} and store.adjudication_history(project.id) == (made, gone)
    (conflict,) = store.conflicts(project.id)
    assert conflict.open and conflict.adjudication == gone and store.progress(project.id).adjudicated == 0
    again = store.adjudicate(item, GOOD, "lead", 2)
    assert store.adjudications(project.id) == {item: again} and store.conflicts(project.id) == ()


def test_blind_and_open_projects(store):
    for blind, seen in ((True, 1), (False, 2)):
        project = store.create_project(ProjectSettings("first", overlap=2, blind=blind), sources(1), "lead")
        item = store.items(project.id)[0].id
        say(store, item, "ann", GOOD)
        say(store, item, "ben", BAD)
        assert len(store.shown_reviews(item, "ann")) == seen


@pytest.mark.slow
@pytest.mark.parametrize(("order", "expected"), [("grounding", [1, 0, 3, 2]), ("surprise", [3, 0, 1, 2])])
def test_orders_by_score_put_what_has_none_last(store, order, expected):
    scored = [replace(one, scores={order: value}) for one, value in zip(sources(4), (0.2, -0.5, 0.3, 0.9), strict=True)]
    scored[2] = replace(scored[2], scores={})
    project = store.create_project(ProjectSettings("first", order=order), scored, "lead")
    given = store.next_items(project.id, "ann", count=4)
    assert [one.item.number for one in given] == expected


@pytest.mark.slow
def test_what_annotators_differ_on_comes_next(store):
    project = store.create_project(ProjectSettings("first", overlap=3, order="disagreement"), sources(9), "lead")
    last = store.next_items(project.id, "eve", count=9)[-1].item.id
    for item in store.items(project.id):
        store.release(item.id, "eve")
    say(store, last, "ann", GOOD)
    say(store, last, "ben", BAD)
    assert store.next_items(project.id, "eve")[0].item.id == last


@pytest.mark.slow
def test_a_random_order_is_told_by_its_seed(store):
    orders = []
    for _ in range(2):
        project = store.create_project(ProjectSettings("first"), sources(8), "lead")
        orders.append([one.item.number for one in store.next_items(project.id, "ann", count=8)])
    assert orders[0] == orders[1] != sorted(orders[0])


def test_progress(store, clock):
    project = store.create_project(ProjectSettings("first", overlap=2), sources(3), "lead")
    one, other, _ = (item.id for item in store.items(project.id))
    say(store, one, "ann", GOOD)
    say(store, one, "ben", BAD)
    say(store, other, "ann", corrected("push it"))
    store.next_items(project.id, "eve", count=1)
    store.save_draft(other, "ben", "review-of-ben", {})
    told = store.progress(project.id)
    assert (told.items, told.begun, told.done, told.reviews, told.wanted) == (3, 2, 1, 3, 6)
    assert (told.leased, told.conflicts, told.adjudicated, told.gold) == (1, 1, 0, 0)
    ann, ben, eve = told.annotators
    assert (ann.annotator, ann.reviews, ann.accepted, ann.corrected, ann.seconds) == ("ann", 2, 1, 1, 4.0)
    assert (ben.drafts, ben.rejected, eve.reviews, eve.leased, eve.last) == (1, 1, 0, 1, None)


@pytest.mark.slow
def test_items_are_added_once(store):
    project = store.create_project(ProjectSettings("first"), sources(2) + sources(1), "lead")
    assert store.add_items(project.id, sources(3), "lead") == 1
    assert [item.source for item in store.items(project.id)] == sources(3)
    assert [item.number for item in store.items(project.id, first=1, count=1)] == [1]


@pytest.mark.parametrize(
    ("judgement", "said"),
    [
        (Judgement((), "good"), "expected one of accept"),
        (Judgement((PartJudgement("feeling", "correct"),), "accept"), "no part 'feeling'"),
        (Judgement((PartJudgement("planning", "fine"),), "accept"), "expected one of correct"),
        (Judgement((PartJudgement("planning", "wrong", ("typo",)),), "reject"), "unknown kind of error 'typo'"),
        (Judgement((PartJudgement("planning", "wrong"),), "correct"), "no part was corrected"),
        (corrected("lift it"), "no part was corrected"),  # the same text
        (corrected(" \n"), "the correction of part 'planning' is empty"),
        (Judgement((PartJudgement("planning", "wrong", (), "x"),), "accept"), "but a part was corrected"),
        (Judgement((PartJudgement("planning", "wrong"),) * 2, "reject"), "judged twice"),
        (Judgement((), "reject", "x" * 1_000_001), "keeps up to"),
    ],
)
def test_judgements_that_do_not_fit_are_refused(judgement, said):
    with pytest.raises(UserError, match=said):
        checked(judgement, sources(1)[0].rationale.parts, LabelScheme())


def test_a_review_that_does_not_fit_leaves_nothing(store):
    project = store.create_project(ProjectSettings("first"), sources(1), "lead")
    with pytest.raises(UserError, match="no part 'feeling'"):
        say(store, store.items(project.id)[0].id, "ann", Judgement((PartJudgement("feeling", "correct"),), "accept"))
    assert store.review_history(project.id) == () and store.progress(project.id).leased == 0


def test_a_project_has_its_own_labels(store):
    labels = LabelScheme(PartLabels(("good", "bad"), ()), {"planning": PartLabels(("safe", "unsafe"), ("speed",))})
    project = store.create_project(ProjectSettings("first", labels=labels), sources(1), "lead")
    item = store.items(project.id)[0].id
    assert store.project(project.id).settings.labels == labels
    parts = (PartJudgement("planning", "unsafe", ("speed",)), PartJudgement("observation", "good"))
    assert say(store, item, "ann", Judgement(parts, "reject")).judgement.part("planning").verdict == "unsafe"
    with pytest.raises(UserError, match="expected one of good, bad"):
        say(store, item, "ben", Judgement((PartJudgement("observation", "safe"),), "accept"))


def test_names_and_ids_that_cannot_be(store):
    with pytest.raises(UserError, match="0 characters"):
        store.create_project(ProjectSettings("  "), sources(1), "lead")
    with pytest.raises(UserError, match="overlap is 0"):
        store.create_project(ProjectSettings("first", overlap=0), sources(1), "lead")
    project = store.create_project(ProjectSettings("first"), sources(1), "lead")
    item = store.items(project.id)[0].id
    for name in ("", "a\0b", "\ud800", "x" * 201):
        with pytest.raises(UserError, match="name has"):
            store.next_items(project.id, name)
    with pytest.raises(UserError, match="no review id"):
        store.submit(Submission("1", item, "ann", GOOD))
    with pytest.raises(UserError, match="there is no item"):
        say(store, "nowhere", "ann", GOOD)
    with pytest.raises(UserError, match="there is no review project"):
        store.progress("nowhere")
