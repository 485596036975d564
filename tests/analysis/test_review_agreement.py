"""Agreement of a project's annotators, worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from analysis.review import Gold, Judgement, LabelScheme, PartJudgement, Review
from analysis.review.agreement import agreement
from analysis.review.judgement import PartLabels
from analysis.review.report import agreement_json, agreement_text
from tests.analysis.review_world import Clock

SCHEME = LabelScheme()
START = Clock().now


def said(overall: str, verdict: str) -> Judgement:
    return Judgement((PartJudgement("planning", verdict),), overall)


def review(name: str, number: int, judgement: Judgement) -> Review:
    """What an annotator says of item ``number``, on that day."""
    time = START + timedelta(days=number)
    return Review(f"{name}-{number}", f"item {number}", "project", name, judgement, time, "d", "test")


def reviews(**given: list[tuple[str, str] | None]) -> list[Review]:
    """Annotator -> overall verdict and verdict of the part for item 0, 1 ...; None: not reviewed."""
    return [
        review(name, number, said(*one))
        for name, row in given.items()
        for number, one in enumerate(row)
        if one is not None
    ]


def gold(*answers: tuple[str, str] | None) -> dict[str, Gold]:
    return {
        f"item {number}": Gold(f"item {number}", 1, said(*one), "lead", START, "d", "test")
        for number, one in enumerate(answers)
        if one is not None
    }


YES, NO, MAYBE = ("accept", "correct"), ("reject", "wrong"), ("unsure", "cannot tell")
THREE = reviews(
    ann=[YES, YES, NO, NO, YES, None], ben=[YES, NO, NO, NO, MAYBE, YES], eve=[YES, None, NO, YES, None, None]
)


def test_labels_and_their_coefficients():
    told = agreement(THREE, SCHEME, resamples=200)
    overall, part, together = told.labels
    assert (overall.label, part.label, together.label) == ("overall", "planning", "all parts")
    assert overall.categories == ("accept", "correct", "reject", "unsure")
    # pairs that agree: item 0 3 of 3, item 1 0 of 1, item 2 3 of 3, item 3 1 of 3, item 4 0 of 1; item 5 has one rating
    assert overall.nominal.percent.value == pytest.approx((1 + 0 + 1 + 1 / 3 + 0) / 5)
    assert (overall.nominal.units, overall.nominal.ratings) == (5, 14)
    assert overall.ordinal.units == 4 and overall.ordinal.ratings == 13  # without who was unsure
    assert overall.nominal.percent.low < overall.nominal.percent.value < overall.nominal.percent.high
    assert part.nominal == together.nominal


def test_pairs_of_annotators():
    told = agreement(THREE, SCHEME, resamples=50)
    pair = next(one for one in told.pairs if (one.label, one.first, one.second) == ("overall", "ann", "ben"))
    assert (pair.units, pair.percent) == (5, 3 / 5)
    assert pair.table.tolist() == [[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    # chance: accept 3/5 * 1/5, reject 2/5 * 3/5, unsure 0 * 1/5
    assert pair.kappa == pytest.approx((3 / 5 - 9 / 25) / (1 - 9 / 25))
    # without item 4, linear weights of accept and reject two apart 0: 3/4 agree, chance 2/4 * 1/4 + 2/4 * 3/4
    assert pair.weighted_kappa == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    assert pair.low < pair.percent < pair.high


def test_an_annotator_against_the_others():
    told = agreement(THREE, SCHEME, resamples=50)
    eve = next(one for one in told.annotators if (one.label, one.first) == ("overall", "eve"))
    # item 0: ann, ben yes; item 2: both no; item 3: eve yes, both no
    assert (eve.second, eve.units, eve.percent) == ("others", 6, 4 / 6)


def test_annotators_against_gold():
    told = agreement(THREE, SCHEME, gold(YES, YES, None, NO, YES), resamples=50)
    by_name = {one.first: one for one in told.gold if one.label == "overall"}
    assert {name: (one.units, one.percent) for name, one in by_name.items()} == {
        "ann": (4, 1.0),
        "ben": (4, 2 / 4),
        "eve": (2, 1 / 2),
    }
    assert by_name["ben"].table[2, 0] == 1  # said reject where accept is right


def test_drift_follows_each_annotator_in_time():
    told = agreement(THREE, SCHEME, gold(YES, YES), resamples=50, window=3)
    ann = [(one.against, one.compared, one.agreed) for one in told.drift if one.annotator == "ann"]
    assert ann == [("others", 5, 4 / 5), ("gold", 2, 1.0), ("others", 3, 1 / 3)]
    first = next(one for one in told.drift if one.annotator == "ann")
    assert (first.start, first.stop) == (START, START + timedelta(days=2))


def test_labels_that_the_project_no_longer_has_count_as_categories():
    told = agreement(reviews(ann=[("accept", "fine"), YES], ben=[("accept", "fine"), YES]), SCHEME, resamples=10)
    assert told.labels[1].categories == ("correct", "partly", "wrong", "cannot tell", "fine")


PARTS = ("observation", "situation", "spatial")


def judged_parts(*verdicts: tuple[str, str], parts: tuple[str, ...] = PARTS) -> list[Review]:
    """What ann and ben say about all ``parts`` of item 0, 1 ..."""
    return [
        review(name, number, Judgement(tuple(PartJudgement(part, verdict) for part in parts), "accept"))
        for number, both in enumerate(verdicts)
        for name, verdict in zip(("ann", "ben"), both, strict=True)
    ]


def test_intervals_of_all_parts_are_over_whole_items():
    """Who says the same of each part of an item tells no more about all parts than about one."""
    told = agreement(judged_parts(*[("correct", "correct"), ("correct", "wrong"), ("partly", "partly")] * 4), SCHEME)
    _, part, *_, together = told.labels
    assert (together.label, together.nominal.units, together.nominal.clusters) == ("all parts", 36, 12)
    assert (part.nominal.units, part.nominal.clusters) == (12, 12)
    for name in ("percent", "fleiss", "ac"):
        one, all_of_them = getattr(part.nominal, name), getattr(together.nominal, name)
        assert [all_of_them.value, all_of_them.low, all_of_them.high] == pytest.approx([one.value, one.low, one.high])
    few = agreement(judged_parts(*[("correct", "wrong"), ("wrong", "wrong")] * 2), SCHEME).labels[-1].nominal
    assert (few.units, few.clusters) == (12, 4) and np.isnan(few.percent.low)  # four items
    assert "12 items with two or more, 72 ratings" in agreement_text(told)


def test_parts_with_different_verdicts_have_no_scale_together():
    scheme = LabelScheme(parts={"planning": PartLabels(("safe", "unsafe")), "spatial": PartLabels(("safe", "unsafe"))})
    apart = judged_parts(*[("safe", "unsafe")] * 6, parts=("planning",))
    alike = judged_parts(*[("correct", "correct")] * 6, parts=("observation",))
    told = agreement([*apart, *alike], scheme)
    together = told.labels[-1]
    assert not together.one_scale and np.isnan(together.ordinal.percent.value) and together.ordinal.units == 0
    assert together.nominal.percent.value == pytest.approx(1 / 2)
    assert "all parts: 0.500" in agreement_text(told) and "none: the parts have different verdicts" in agreement_text(
        told
    )
    # of parts with the same verdicts all together are a scale: theirs, and without verdicts that none of them has
    one = agreement(judged_parts(*[("safe", "unsafe")] * 6, parts=("planning", "spatial")), scheme).labels[-1]
    assert one.one_scale and one.categories == ("safe", "unsafe") and one.ordinal.percent.value == 0.0


def test_no_opinion_makes_no_other_scale():
    scheme = LabelScheme(parts={"planning": PartLabels(("correct", "partly", "wrong"))})
    said = judged_parts(*[("correct", "partly")] * 6, parts=("observation", "planning"))
    told = agreement(said, scheme).labels[-1]
    assert told.one_scale and told.ordinal.percent.value == pytest.approx(1 / 2)


def test_nothing_and_a_single_annotator():
    assert agreement([], SCHEME).labels[0].nominal.units == 0
    told = agreement(reviews(ann=[YES, NO]), SCHEME)
    assert np.isnan(told.labels[0].nominal.alpha.value) and told.pairs == ()
    assert told.annotators[0].units == 0 and np.isnan(told.annotators[0].percent)


def test_as_text_and_as_json():
    told = agreement(THREE, SCHEME, gold(YES, YES), resamples=50)
    text = agreement_text(told)
    assert "ann and ben, overall: 0.600 [0.231, 0.882], 0.375, 0.500; 5 compared" in text
    assert "not defined" in agreement_text(agreement(reviews(ann=[YES]), SCHEME)) and "nan" not in text
    values = agreement_json(told)
    assert values["pairs"][0]["table"][0] == [1, 0, 1, 1] and values["drift"][0]["start"].startswith("2026-03-01")
