"""Reviews as ratings: a table for each label, annotators by items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from analysis.metrics.agreement import MISSING, Ratings
from analysis.review.item import Review
from analysis.review.judgement import OVERALL, Judgement, LabelScheme

OVERALL_LABEL = "overall"
ALL_PARTS = "all parts"
NO_OPINION = ("cannot tell", "unsure")  # beside the scale: missing where categories are ordered


@dataclass(frozen=True)
class Rated:
    """What annotators said about one label."""

    label: str  # overall, a part's name, or all parts together
    categories: tuple[str, ...]
    annotators: tuple[str, ...]
    units: tuple[tuple[str, str], ...]  # item id, and the label or, for all parts together, the part
    ratings: Ratings
    one_scale: bool = True  # the categories have one order; not where parts have different ones

    @property
    def items(self) -> Int[np.ndarray, " units"]:
        """Number of the item of each unit."""
        return np.unique([item for item, _ in self.units], return_inverse=True)[1]

    def ordered(self) -> Rated:
        """Without those who had no opinion, so that the categories are a scale; nothing where there is not one."""
        scale = tuple(category for category in self.categories if category not in NO_OPINION)
        numbers = {self.categories.index(category): place for place, category in enumerate(scale)}
        moved = np.full_like(self.ratings, MISSING)
        for old, new in numbers.items() if self.one_scale else ():
            moved[self.ratings == old] = new
        return replace(self, categories=scale, ratings=moved)

    def of(self, annotator: str) -> np.ndarray:
        return self.ratings[self.annotators.index(annotator)]


def said_about(judgement: Judgement, label: str) -> str | None:
    """The category that a judgement gives to a label."""
    if label == OVERALL_LABEL:
        return judgement.overall
    part = judgement.part(label)
    return None if part is None else part.verdict


def labels_of(reviews: Iterable[Review]) -> tuple[str, ...]:
    """Overall, then the parts that were judged, in the order in which they appear."""
    parts: dict[str, None] = {}
    for review in reviews:
        if review.judgement is not None:
            parts |= dict.fromkeys(one.part for one in review.judgement.parts)
    return (OVERALL_LABEL, *parts)


def rated(reviews: Sequence[Review], label: str, scheme: LabelScheme) -> Rated:
    """One label. Categories that the scheme no longer has come last."""
    given = {
        (review.annotator, (review.item, label)): category
        for review in reviews
        if review.judgement is not None and (category := said_about(review.judgement, label)) is not None
    }
    known = OVERALL if label == OVERALL_LABEL else scheme.of(label).verdicts
    return _table(label, given, known)


def all_parts(reviews: Sequence[Review], scheme: LabelScheme) -> Rated:
    """Each part of each item is a unit of its own. Parts whose verdicts differ have no scale in common."""
    given = {
        (review.annotator, (review.item, one.part)): one.verdict
        for review in reviews
        for one in (() if review.judgement is None else review.judgement.parts)
    }
    known = dict.fromkeys(scheme.of(part).verdicts for _, (_, part) in given)
    scales = {tuple(verdict for verdict in verdicts if verdict not in NO_OPINION) for verdicts in known}
    table = _table(ALL_PARTS, given, [verdict for verdicts in known for verdict in verdicts])
    return replace(table, one_scale=len(scales) < 2)


def _table(label: str, given: dict[tuple[str, tuple[str, str]], str], known: Sequence[str]) -> Rated:
    categories = tuple(dict.fromkeys((*known, *given.values())))
    annotators = tuple(sorted({annotator for annotator, _ in given}))
    units = tuple(dict.fromkeys(unit for _, unit in given))
    ratings = np.full((len(annotators), len(units)), MISSING)
    rows = {name: place for place, name in enumerate(annotators)}
    columns = {name: place for place, name in enumerate(units)}
    numbers = {name: place for place, name in enumerate(categories)}
    for (annotator, unit), category in given.items():
        ratings[rows[annotator], columns[unit]] = numbers[category]
    return Rated(label, categories, annotators, units, ratings)
