"""Bootstrap intervals over episodes. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Kind = Literal["expanded percentile", "percentile", "bca"]
LEAST = 5  # values; below this no interval is given
RESAMPLES = 10_000
BLOCK = 4_000_000  # values drawn at once


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes with its interval; ``low`` and ``high`` are nan where there are too few to give one."""

    value: float  # nan: nothing was measured
    low: float
    high: float
    n: int  # episodes
    level: float = 0.95
    kind: Kind = "expanded percentile"

    @property
    def has_interval(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def excludes_zero(self) -> bool:
        return self.has_interval and (self.low > 0 or self.high < 0)


def bootstrap_mean(
    values: Float[np.ndarray, " n"],
    level: float = 0.95,
    kind: Kind = "expanded percentile",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean of ``values`` (one an episode; of a paired comparison: the differences) and its bootstrap interval.

    ``expanded percentile`` (Hesterberg 2015) takes the percentiles that make up for the n of the resampled means being
    too narrow by (n - 1) / n and for n being small; ``percentile`` is the plain one, ``bca`` Efron's corrected one.
    Values that are not finite are left out. Under `LEAST` values no interval is given.
    """
    kept = values[np.isfinite(values)].astype(np.float64)
    n = len(kept)
    mean = float(kept.mean()) if n else float("nan")
    if n < LEAST:
        return Estimate(mean, float("nan"), float("nan"), n, level, kind)
    means = resampled_means(kept, resamples, seed)
    low, high = np.quantile(means, _tails(kept, means, level, kind))
    return Estimate(mean, float(low), float(high), n, level, kind)


def resampled_means(values: Float[np.ndarray, " n"], resamples: int, seed: int) -> Float[np.ndarray, " b"]:
    """Means of ``resamples`` draws of n values with replacement."""
    random = np.random.default_rng(seed)
    n, out = len(values), np.empty(resamples)
    at_once = max(1, BLOCK // n)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        out[start : start + count] = values[random.integers(0, n, (count, n))].mean(axis=1)
    return out


def _tails(values: np.ndarray, means: np.ndarray, level: float, kind: Kind) -> tuple[float, float]:
    """The two quantiles of the resampled means that bound the interval."""
    from scipy import stats

    alpha, n = (1 - level) / 2, len(values)
    if kind == "percentile":
        return alpha, 1 - alpha
    if kind == "expanded percentile":
        wide = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(alpha, n - 1)))
        return wide, 1 - wide
    below = (means < values.mean()).mean() + (means == values.mean()).mean() / 2
    bias = float(stats.norm.ppf(np.clip(below, 1e-6, 1 - 1e-6)))
    without = (values.sum() - values) / (n - 1)
    away = without.mean() - without
    spread = float((away**2).sum())
    skew = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = [bias + z for z in stats.norm.ppf((alpha, 1 - alpha))]
    low, high = (float(stats.norm.cdf(bias + z / (1 - skew * z))) for z in shifted)
    return low, high
