"""Outcomes by rule, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.review import Adjudication, Item, Judgement, PartJudgement, Review
from analysis.review.final import Rule, finals
from analysis.review.judgement import LabelScheme, checked
from models.errors import UserError
from tests.analysis.review_world import BAD, GOOD, Clock, corrected, sources

(SOURCE,) = sources(1)
ITEM = Item("item", "project", 0, 9, SOURCE, SOURCE.digest)
UNSURE = Judgement((), "unsure")


def review(annotator: str, said: Judgement) -> Review:
    judgement = checked(said, SOURCE.rationale.parts, LabelScheme())
    return Review(annotator, "item", "project", annotator, judgement, Clock().now, SOURCE.digest, "test")


def decision(said: Judgement) -> dict[str, Adjudication]:
    judgement = checked(said, SOURCE.rationale.parts, LabelScheme())
    return {"item": Adjudication("item", 1, judgement, "lead", Clock().now, SOURCE.digest, "test")}


PUSH, PULL = corrected("push it"), corrected("pull it")


@pytest.mark.parametrize(
    ("said", "all_", "majority", "text"),
    [
        ([], "undecided", "undecided", "lift it"),
        ([GOOD], "accept", "accept", "lift it"),
        ([BAD], "reject", "reject", "lift it"),
        ([UNSURE], "undecided", "undecided", "lift it"),
        ([GOOD, GOOD, BAD], "undecided", "accept", "lift it"),
        ([GOOD, BAD], "undecided", "undecided", "lift it"),
        ([BAD, BAD, GOOD], "undecided", "reject", "lift it"),
        ([PUSH, PUSH], "correct", "correct", "push it"),
        ([PUSH, PUSH, GOOD], "undecided", "correct", "push it"),
        ([PUSH, GOOD], "undecided", "undecided", "lift it"),
        ([PUSH, PULL], "undecided", "undecided", "lift it"),
        ([PUSH, GOOD, GOOD], "undecided", "accept", "lift it"),
        ([PUSH, PUSH, BAD, UNSURE], "undecided", "undecided", "lift it"),
        ([PUSH, PUSH, PUSH, BAD, UNSURE], "undecided", "correct", "push it"),
    ],
)
def test_rules(said, all_, majority, text):
    reviews = [review(f"annotator {number}", one) for number, one in enumerate(said)]
    (strict,) = finals([ITEM], reviews, {}, Rule("all"))
    (found,) = finals([ITEM], reviews, {}, Rule("majority"))
    (alone,) = finals([ITEM], reviews, {}, Rule("adjudicated"))
    assert (strict.outcome, found.outcome, alone.outcome) == (all_, majority, "undecided")
    assert found.rationale.parts == {"observation": "a block 0", "planning": text}
    assert found.originals == ({"planning": "lift it"} if text != "lift it" else {})
    assert (found.rationale.start, found.rationale.stop, found.rationale.author) == (0, 4, "teacher")


@pytest.mark.parametrize("rule", ["all", "majority", "adjudicated"])
@pytest.mark.parametrize(
    ("said", "outcome"), [(GOOD, "accept"), (PULL, "correct"), (BAD, "reject"), (UNSURE, "undecided")]
)
def test_a_lead_decides_under_each_rule(rule, said, outcome):
    reviews = [review("ann", PUSH), review("ben", GOOD)]
    (found,) = finals([ITEM], reviews, decision(said), Rule(rule, least=5))
    assert (found.outcome, found.adjudicated_by, found.good) == (outcome, "lead", outcome in ("accept", "correct"))
    assert found.rationale.parts["planning"] == ("pull it" if said is PULL else "lift it")


def test_how_many_reviews_are_needed_and_how_far_they_agree():
    reviews = [review("ann", GOOD), review("ben", GOOD), review("eve", BAD)]
    assert finals([ITEM], reviews, {}, Rule("majority", least=4))[0].outcome == "undecided"
    (found,) = finals([ITEM], reviews, {})
    assert found.agreement == pytest.approx(1 / 3)  # one pair of three
    assert finals([ITEM], reviews[:1], {})[0].agreement is None
    assert found.annotators == ("ann", "ben", "eve")
    other = replace(ITEM, id="other")
    assert [one.outcome for one in finals([other, ITEM], reviews, {})] == ["undecided", "accept"]


def test_two_corrections_of_different_parts_need_a_majority_each():
    both = Judgement(
        (PartJudgement("observation", "wrong", (), "a cup"), PartJudgement("planning", "wrong", (), "go")), "correct"
    )
    (found,) = finals([ITEM], [review("ann", both), review("ben", corrected("go")), review("eve", corrected("go"))], {})
    assert found.rationale.parts == {"observation": "a block 0", "planning": "go"}


def test_a_part_without_a_word_is_never_let_pass():
    """Earlier versions took empty corrections."""
    empty = replace(review("ann", PUSH), judgement=corrected(" \n"))
    assert finals([ITEM], [empty], {})[0].outcome == "undecided"
    decided = replace(decision(PUSH)["item"], judgement=corrected(""))
    (found,) = finals([ITEM], [review("ann", GOOD)], {"item": decided})
    assert (found.outcome, found.rationale, found.good) == ("undecided", SOURCE.rationale, False)


def test_rules_that_cannot_be():
    with pytest.raises(UserError, match="expected one of all, majority, adjudicated"):
        Rule("most")
    with pytest.raises(UserError, match="at least 0 reviews"):
        Rule("all", 0)
