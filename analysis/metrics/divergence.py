"""How far two answers of a policy lie apart. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def jensen_shannon(p: Float[np.ndarray, "*n B"], q: Float[np.ndarray, "*n B"]) -> Float[np.ndarray, "*n"]:
    """Jensen-Shannon divergence in bits: 0 the same, 1 nothing in common. Rows are scaled to sum to one."""
    one, two = (x.astype(np.float64) / x.sum(axis=-1, keepdims=True) for x in (p, q))
    middle = (one + two) / 2
    return np.asarray(np.clip((_relative(one, middle) + _relative(two, middle)) / 2, 0.0, 1.0))


def _relative(p: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence in bits, 0 ln 0 = 0; m is positive wherever p is."""
    ratio = np.divide(p, m, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=-1))
