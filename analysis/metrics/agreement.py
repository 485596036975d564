"""How far raters agree beyond chance; missing ratings are handled everywhere. docs/metrics.md has the formulas.

Ratings are category numbers from 0, a row a rater, a column a unit; ``MISSING`` where a rater did not rate a unit.
Where a coefficient is not defined (no unit with two raters, or chance alone agrees fully) it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
from jaxtyping import Float, Int

MISSING = -1
WEIGHTINGS = ("identity", "ordinal", "linear", "quadratic")
Level = Literal["nominal", "ordinal", "interval"]
Ratings = Int[np.ndarray, "raters units"]
Counts = Int[np.ndarray, "units categories"]  # how many raters gave a unit each category
Weights = Float[np.ndarray, "categories categories"]  # 1 on the diagonal: partial credit for near misses


@dataclass(frozen=True)
class Coefficient:
    """A chance-corrected coefficient and what it was made from."""

    value: float  # (observed - chance) / (1 - chance)
    observed: float  # weighted share of agreement
    chance: float  # that would be expected by chance


def counts_of(ratings: Ratings, categories: int) -> Counts:
    """Raises ValueError for a rating that is no category."""
    if ratings.size and (ratings.max() >= categories or ratings.min() < MISSING):
        raise ValueError(f"ratings reach from {ratings.min()} to {ratings.max()}; there are {categories} categories")
    return np.stack([(ratings == category).sum(0) for category in range(categories)], axis=1)


def weights_of(categories: int, weighting: str) -> Weights:
    """Agreement between categories k and l, by their numbers. Source: K. L. Gwet, Handbook, 4th ed., section 3.5.

    Raises ValueError for a weighting that is not known.
    """
    k, other = np.indices((categories, categories))
    apart, most = np.abs(k - other), max(1, categories - 1)
    if weighting == "identity":
        return (apart == 0).astype(float)
    if weighting == "linear":
        return 1 - apart / most
    if weighting == "quadratic":
        return 1 - (apart / most) ** 2
    if weighting == "ordinal":
        return 1 - (apart + 1) * apart / ((most + 1) * most)
    raise ValueError(f"the weighting is {weighting!r}; expected one of {', '.join(WEIGHTINGS)}")


def percent_agreement(counts: Counts, weights: Weights | None = None) -> float:
    """Share of pairs of raters that agree, averaged over units with at least two raters."""
    weights = _identity(counts) if weights is None else weights
    raters = counts.sum(1)
    pairs = raters >= 2
    if not pairs.any():
        return float("nan")
    found, raters = counts[pairs], raters[pairs]
    agreeing = (found * (found @ weights - 1)).sum(1)
    return float((agreeing / (raters * (raters - 1))).mean())


def fleiss_kappa(counts: Counts, weights: Weights | None = None) -> Coefficient:
    """Fleiss' kappa; with missing ratings as generalised by Gwet: each unit weighs the same in the categories' shares.

    Source: J. L. Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971).
    """
    weights = _identity(counts) if weights is None else weights
    shares = _shares(counts)
    return _coefficient(percent_agreement(counts, weights), float(shares @ weights @ shares))


def gwet_ac(counts: Counts, weights: Weights | None = None) -> Coefficient:
    """Gwet's AC1; AC2 with weights other than identity.

    Source: K. L. Gwet, "Computing inter-rater reliability and its variance in the presence of high agreement", British
    Journal of Mathematical and Statistical Psychology 61 (2008).
    """
    weights = _identity(counts) if weights is None else weights
    shares, categories = _shares(counts), counts.shape[1]
    spread = float((shares * (1 - shares)).sum())
    chance = float(weights.sum()) / (categories * (categories - 1)) * spread if categories > 1 else float("nan")
    return _coefficient(percent_agreement(counts, weights), chance)


def cohen_kappa(first: Int[np.ndarray, " units"], second: Int[np.ndarray, " units"], weights: Weights) -> Coefficient:
    """Cohen's kappa of two raters over the units that both rated; weighted by agreement.

    Source: J. Cohen, Educational and Psychological Measurement 20 (1960); weighted: Psychological Bulletin 70 (1968).
    """
    table = confusion(first, second, len(weights))
    total = table.sum()
    if not total:
        return Coefficient(float("nan"), float("nan"), float("nan"))
    shares = table / total
    return _coefficient(float((shares * weights).sum()), float(shares.sum(1) @ weights @ shares.sum(0)))


def confusion(
    first: Int[np.ndarray, " units"], second: Int[np.ndarray, " units"], categories: int
) -> Int[np.ndarray, "categories categories"]:
    """How often ``first`` (row) said one category and ``second`` (column) another, of the units that both rated."""
    both = (first != MISSING) & (second != MISSING)
    table = np.zeros((categories, categories), int)
    np.add.at(table, (first[both], second[both]), 1)
    return table


def krippendorff_alpha(counts: Counts, level: Level = "nominal") -> float:
    """Krippendorff's alpha by the package ``krippendorff``; of category numbers.

    Source: K. Krippendorff, Content Analysis, 2nd ed. (2004), chapter 11. NaN where fewer than two categories occur.
    """
    pairable = counts[counts.sum(1) >= 2]
    if (pairable.sum(0) > 0).sum() < 2:
        return float("nan")
    return float(krippendorff.alpha(value_counts=pairable, level_of_measurement=level))


def _identity(counts: Counts) -> Weights:
    return np.eye(counts.shape[1])


def _shares(counts: Counts) -> Float[np.ndarray, " categories"]:
    """Mean over the rated units of the share of raters that gave each category."""
    rated = counts[counts.sum(1) > 0]
    if not len(rated):
        return np.full(counts.shape[1], np.nan)
    return (rated / rated.sum(1, keepdims=True)).mean(0)


def _coefficient(observed: float, chance: float) -> Coefficient:
    value = (observed - chance) / (1 - chance) if chance < 1 else float("nan")
    return Coefficient(value, observed, chance)
