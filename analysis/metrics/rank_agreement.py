"""Whether two maps put patches in the same order. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def kendall(first: Float[np.ndarray, "*shape"], second: Float[np.ndarray, "*shape"]) -> float:
    """Kendall's tau-b, -1 to 1; nan where one of the two is the same everywhere."""
    from scipy import stats

    return float(stats.kendalltau(first.ravel(), second.ravel()).statistic) if _vary(first, second) else float("nan")


def spearman(first: Float[np.ndarray, "*shape"], second: Float[np.ndarray, "*shape"]) -> float:
    """Spearman's rho, -1 to 1, equal values sharing their mean rank; nan where one is the same everywhere."""
    from scipy import stats

    return float(stats.spearmanr(first.ravel(), second.ravel()).statistic) if _vary(first, second) else float("nan")


def _vary(*maps: np.ndarray) -> bool:
    return all(map.size > 1 and bool((map != map.flat[0]).any()) for map in maps)
