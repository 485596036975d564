"""How far the annotators of a project agree: with each other, with gold, and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations

import numpy as np
from jaxtyping import Int

from analysis.metrics.agreement import MISSING, cohen_kappa, confusion, counts_of, weights_of
from analysis.metrics.agreement_bootstrap import RESAMPLES, Coefficients, coefficients
from analysis.metrics.intervals import wilson
from analysis.review.item import Gold, Review
from analysis.review.judgement import LabelScheme
from analysis.review.ratings import OVERALL_LABEL, Rated, all_parts, labels_of, rated, said_about

WINDOW = 20  # reviews of an annotator in one point of the drift
NAN = float("nan")


@dataclass(frozen=True)
class LabelAgreement:
    """All annotators on one label: overall, a part, or all parts together."""

    label: str
    categories: tuple[str, ...]
    nominal: Coefficients  # each category by itself; ``ac`` is AC1
    ordinal: Coefficients  # near misses count in part, no opinion is missing; ``ac`` is AC2 with linear weights
    one_scale: bool = True  # False: parts have different verdicts, in no common order; ``ordinal`` holds nothing then


@dataclass(frozen=True)
class PairAgreement:
    """Two annotators, or an annotator (first) against gold or the others (second), on one label."""

    label: str
    first: str
    second: str
    units: int  # that both rated
    percent: float  # 0 to 1; NaN without a unit
    low: float  # 95 % Wilson interval
    high: float
    kappa: float  # Cohen's
    weighted_kappa: float  # linear weights, without those who had no opinion
    categories: tuple[str, ...]
    table: Int[np.ndarray, "first second"]  # how often the first said one category (row) and the second another


@dataclass(frozen=True)
class DriftPoint:
    """A stretch of one annotator's reviews: how often their overall verdict was that of the others, or of gold."""

    annotator: str
    against: str  # "others" or "gold"
    start: datetime  # UTC; of the first review in it
    stop: datetime  # UTC; of the last
    compared: int
    agreed: float  # pairs that agree / pairs
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    labels: tuple[LabelAgreement, ...]
    pairs: tuple[PairAgreement, ...]  # each two annotators
    annotators: tuple[PairAgreement, ...]  # each against all others; a unit is a pair of ratings
    gold: tuple[PairAgreement, ...]  # each against gold
    drift: tuple[DriftPoint, ...]


def agreement(
    reviews: Sequence[Review],
    scheme: LabelScheme,
    gold: Mapping[str, Gold] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    window: int = WINDOW,
) -> Agreement:
    """From the reviews that count (`ReviewStore.reviews`) and gold answers by item (`ReviewStore.gold`)."""
    answers = gold or {}
    tables = [rated(reviews, label, scheme) for label in labels_of(reviews)]
    known = [_gold_table(table, answers) for table in tables]
    everything = [*tables, all_parts(reviews, scheme)] if len(tables) > 1 else tables
    return Agreement(
        labels=tuple(_label(table, resamples, seed) for table in everything),
        pairs=tuple(
            _pair(table, table.of(a), table.of(b), a, b)
            for table in tables
            for a, b in combinations(table.annotators, 2)
        ),
        annotators=tuple(_against_others(table, one) for table in tables for one in table.annotators),
        gold=tuple(
            _pair(table, table.of(one), right, one, "gold")
            for table, right in zip(tables, known, strict=True)
            for one in table.annotators
            if ((table.of(one) != MISSING) & (right != MISSING)).any()
        ),
        drift=_drift(reviews, answers, window),
    )


def _label(table: Rated, resamples: int, seed: int) -> LabelAgreement:
    """Intervals are over whole items, all parts of one together: they are judged by the same people in one go."""

    def found(given: Rated, weighting: str, ordinal: bool) -> Coefficients:
        count = len(given.categories)
        counts, weights = counts_of(given.ratings, count), weights_of(count, weighting)
        return coefficients(counts, weights, ordinal, resamples, seed, clusters=given.items)

    nominal, ordinal = found(table, "identity", False), found(table.ordered(), "linear", True)
    return LabelAgreement(table.label, table.categories, nominal, ordinal, table.one_scale)


def _pair(
    table: Rated, first: Int[np.ndarray, " units"], second: Int[np.ndarray, " units"], name: str, other: str
) -> PairAgreement:
    categories = len(table.categories)
    found = confusion(first, second, categories)
    total, agreed = int(found.sum()), int(np.trace(found))
    low, high = wilson(agreed, total) if total else (NAN, NAN)
    both = replace(table, annotators=(name, other), units=(("", ""),) * len(first), ratings=np.stack([first, second]))
    scale = both.ordered()
    weights = weights_of(len(scale.categories), "linear")
    return PairAgreement(
        table.label,
        name,
        other,
        total,
        agreed / total if total else NAN,
        low,
        high,
        cohen_kappa(first, second, np.eye(categories)).value,
        cohen_kappa(scale.ratings[0], scale.ratings[1], weights).value,
        table.categories,
        found,
    )


def _against_others(table: Rated, annotator: str) -> PairAgreement:
    """Each rating of theirs beside each rating that another gave the same unit."""
    others = [place for place, name in enumerate(table.annotators) if name != annotator]
    mine = np.tile(table.of(annotator), len(others)) if others else np.array([], int)
    return _pair(table, mine, table.ratings[others].reshape(-1), annotator, "others")


def _gold_table(table: Rated, gold: Mapping[str, Gold]) -> Int[np.ndarray, " units"]:
    right = np.full(len(table.units), MISSING)
    for place, (item, _) in enumerate(table.units):
        judgement = gold[item].judgement if item in gold else None
        category = None if judgement is None else said_about(judgement, table.label)
        if category in table.categories:
            right[place] = table.categories.index(category)
    return right


def _drift(reviews: Sequence[Review], gold: Mapping[str, Gold], window: int) -> tuple[DriftPoint, ...]:
    by_item: dict[str, list[Review]] = {}
    by_annotator: dict[str, list[Review]] = {}
    for review in sorted(reviews, key=lambda one: one.time):
        by_item.setdefault(review.item, []).append(review)
        by_annotator.setdefault(review.annotator, []).append(review)
    points = []
    for annotator, mine in sorted(by_annotator.items()):
        for start in range(0, len(mine), window):
            part = mine[start : start + window]
            others = [(one, other) for one in part for other in by_item[one.item] if other.annotator != annotator]
            points += _point(annotator, "others", part, [_same(one, other) for one, other in others])
            points += _point(annotator, "gold", part, [_same(one, gold[one.item]) for one in part if one.item in gold])
    return tuple(points)


def _same(one: Review, other: Review | Gold) -> bool:
    said = None if one.judgement is None else said_about(one.judgement, OVERALL_LABEL)
    return other.judgement is not None and said == said_about(other.judgement, OVERALL_LABEL)


def _point(annotator: str, against: str, part: list[Review], same: list[bool]) -> list[DriftPoint]:
    if not same:
        return []
    low, high = wilson(sum(same), len(same))
    return [DriftPoint(annotator, against, part[0].time, part[-1].time, len(same), sum(same) / len(same), low, high)]
