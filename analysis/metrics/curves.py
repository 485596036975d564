"""Deletion and insertion curves. Formulas and sources in docs/metrics.md."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def area_under(shares: Float[np.ndarray, " n"], values: Float[np.ndarray, "*m n"]) -> Float[np.ndarray, "*m"]:
    """Area under a curve over shares 0 to 1 of the patches, by trapezia. Raises ValueError for other shares."""
    if shares[0] != 0 or shares[-1] != 1 or (np.diff(shares) <= 0).any():
        raise ValueError(f"shares run from {shares[0]} to {shares[-1]}; they have to rise from 0 to 1")
    return np.asarray(((values[..., 1:] + values[..., :-1]) / 2 * np.diff(shares)).sum(axis=-1))


def highest_first(map: Float[np.ndarray, "*shape"], seed: int = 0) -> Int[np.ndarray, " P"]:
    """Patch numbers by falling value; equal values in an order drawn with ``seed``, so that no corner is favoured."""
    drawn = np.random.default_rng(seed).permutation(map.size)
    return drawn[np.argsort(-map.ravel()[drawn], kind="stable")]


def steps_of(patches: int, steps: int) -> Int[np.ndarray, " n"]:
    """How many patches are gone at each point of a curve: from 0 to all of them, in at most ``steps`` strides."""
    return np.unique(np.round(np.linspace(0, patches, min(steps, patches) + 1)).astype(np.int64))
