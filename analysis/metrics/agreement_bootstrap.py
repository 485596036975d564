"""Bootstrap intervals of agreement coefficients: units are drawn again, all coefficients from the same draws.

Everything that a coefficient is made of is a sum over units, so a draw is a row of multiplicities. Units that hang
together, as the parts of one item do, are drawn together (cluster bootstrap: Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from analysis.metrics.agreement import (
    Counts,
    Level,
    Weights,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    percent_agreement,
)

RESAMPLES = 1000
LEAST = 5  # clusters with two raters; below this no interval is given
BLOCK = 2_000_000  # multiplicities drawn at once
Drawn = Float[np.ndarray, "draws units"]  # how often each unit was drawn


@dataclass(frozen=True)
class Estimated:
    """A value and the percentile interval of its draws; NaN: not defined, or too few units for an interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Coefficients:
    """How far raters agree on one label; see docs/metrics.md."""

    units: int  # with at least two raters
    clusters: int  # of units, drawn whole, with at least one such unit; where each is drawn by itself: as many
    ratings: int
    percent: Estimated
    fleiss: Estimated
    alpha: Estimated
    ac: Estimated  # AC1, or AC2 where the categories are ordered


def coefficients(
    counts: Counts,
    weights: Weights,
    ordinal: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    clusters: Int[np.ndarray, " units"] | None = None,
) -> Coefficients:
    """``weights``: of `weights_of`; ``ordinal``: alpha for ordered categories, else nominal.

    ``clusters``: number of the cluster of each unit; None: each unit is drawn by itself.
    """
    metric: Level = "ordinal" if ordinal else "nominal"
    values = (
        percent_agreement(counts, weights),
        fleiss_kappa(counts, weights).value,
        krippendorff_alpha(counts, metric),
        gwet_ac(counts, weights).value,
    )
    drawn_as, paired = np.arange(len(counts)) if clusters is None else clusters, counts.sum(1) >= 2
    enough = len(np.unique(drawn_as[paired]))
    draws = np.full((1, len(values)), np.nan)
    if enough >= LEAST:
        draws = _draws(counts, weights, ordinal, resamples, seed, drawn_as)
    estimated = [_estimated(value, draws[:, place], level) for place, value in enumerate(values)]
    return Coefficients(int(paired.sum()), enough, int(counts.sum()), *estimated)


def _estimated(value: float, draws: Float[np.ndarray, " draws"], level: float) -> Estimated:
    known = draws[~np.isnan(draws)]  # a draw of units that are all alike has no chance-corrected value
    if not len(known) or np.isnan(value):
        return Estimated(value, float("nan"), float("nan"))
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    return Estimated(value, float(low), float(high))


def _draws(
    counts: Counts, weights: Weights, ordinal: bool, resamples: int, seed: int, clusters: Int[np.ndarray, " units"]
) -> Float[np.ndarray, "draws 4"]:
    there = counts.sum(1) > 0
    rated, (names, place) = counts[there], np.unique(clusters[there], return_inverse=True)
    rng, size = np.random.default_rng(seed), max(1, BLOCK // len(rated))
    even = np.full(len(names), 1 / len(names))
    blocks = [min(size, resamples - start) for start in range(0, resamples, size)]
    drawn = (rng.multinomial(len(names), even, number).astype(float) for number in blocks)
    return np.concatenate([_of_draws(one[:, place], rated, weights, ordinal) for one in drawn])


def _of_draws(drawn: Drawn, counts: Counts, weights: Weights, ordinal: bool) -> Float[np.ndarray, "draws 4"]:
    raters, pairs = counts.sum(1), counts.sum(1) >= 2
    with np.errstate(divide="ignore", invalid="ignore"):
        agreeing = (counts * (counts @ weights - 1)).sum(1)[pairs] / (raters * (raters - 1))[pairs]
        percent = drawn[:, pairs] @ agreeing / drawn[:, pairs].sum(1)
        shares = drawn @ (counts / raters[:, None]) / drawn.sum(1, keepdims=True)
        by_chance = ((shares @ weights) * shares).sum(1)
        categories = counts.shape[1]
        spread = (shares * (1 - shares)).sum(1) * weights.sum() / (categories * max(1, categories - 1))
        kinds = [percent, _corrected(percent, by_chance), _alphas(drawn[:, pairs], counts[pairs], ordinal)]
        return np.stack([*kinds, _corrected(percent, spread)], axis=1)


def _corrected(
    observed: Float[np.ndarray, " draws"], chance: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    return np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)


def _alphas(drawn: Drawn, counts: Counts, ordinal: bool) -> Float[np.ndarray, " draws"]:
    """Krippendorff's alpha of each draw, from the sum of the drawn units' coincidences."""
    units, categories = counts.shape
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(categories)
    each = (pairs / (counts.sum(1) - 1)[:, None, None]).reshape(units, -1)
    found = (drawn @ each).reshape(-1, categories, categories)
    totals = found.sum(2)
    apart = _apart(totals) if ordinal else 1 - np.eye(categories)
    total = totals.sum(1)
    observed = (found * apart).sum((1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * apart).sum((1, 2)) / (total - 1)
    return np.where(expected > 0, 1 - observed / expected, np.nan)


def _apart(totals: Float[np.ndarray, "draws categories"]) -> Float[np.ndarray, "draws categories categories"]:
    """Krippendorff's distance of ordered categories: the squared number of ratings between the two."""
    up_to = np.cumsum(totals, axis=1)
    middle = up_to - totals / 2
    return (middle[:, :, None] - middle[:, None, :]) ** 2
