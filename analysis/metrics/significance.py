"""Tests of "no difference", and what many of them at once cost. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

EXACT_UP_TO = 14  # pairs: all 2^n sign flips are tried
FLIPS = 20_000  # at random beyond that

Correction = Literal["holm", "benjamini-hochberg", "none"]


def sign_flip(differences: Float[np.ndarray, " n"], flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p of a paired permutation test: how often a mean as far from 0 comes when signs are flipped at random.

    Exact up to `EXACT_UP_TO` pairs; beyond, (1 + hits) / (1 + flips). Values that are not finite are left out; with
    no value, nan. The least p that n pairs can give is 2 / 2^n.
    """
    kept = differences[np.isfinite(differences)].astype(np.float64)
    n = len(kept)
    if not n:
        return float("nan")
    size = np.abs(kept).max()
    if size == 0:
        return 1.0
    kept = kept / size
    observed = abs(kept.sum()) - 1e-9 * n  # sums that are equal but for rounding count as equal
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ kept) >= observed).mean())
    random = np.random.default_rng(seed)
    hits = sum(
        int((np.abs(random.choice((-1.0, 1.0), (min(2000, flips - start), n)) @ kept) >= observed).sum())
        for start in range(0, flips, 2000)
    )
    return (1 + hits) / (1 + flips)


def corrected(p: Sequence[float], how: Correction = "holm") -> tuple[float, ...]:
    """p-values corrected for there being several; nan stays nan and is not counted.

    ``holm`` (Holm 1979) bounds the chance of a single false alarm among all; ``benjamini-hochberg`` (1995) the expected
    share of false alarms among what is called different.
    """
    values = np.array(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    if how == "none" or not len(tested):
        return tuple(values.tolist())
    order = tested[np.argsort(values[tested], kind="stable")]
    m, out = len(order), values.copy()
    if how == "holm":
        out[order] = np.maximum.accumulate(np.minimum(1.0, values[order] * (m - np.arange(m))))
    else:
        scaled = values[order] * m / np.arange(1, m + 1)
        out[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return tuple(out.tolist())


def fisher_exact(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p that two shares of successes are one and the same; each is (successes, trials).

    Raises ValueError for more successes than trials.
    """
    from scipy import stats

    for successes, trials in (first, second):
        if not 0 <= successes <= trials:
            raise ValueError(f"{successes} successes of {trials} trials")
    table = [[successes, trials - successes] for successes, trials in (first, second)]
    return float(stats.fisher_exact(table).pvalue)
