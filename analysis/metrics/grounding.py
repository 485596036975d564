"""Whether a map over patches rests on the things it should rest on. Formulas and sources in docs/metrics.md.

``coverage``: share of every patch that the things cover (`patch_coverage`); ``visible``: share that lies on the frame.
Maps hold no negative values: attention, or significance (take the absolute value of signed ones first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class InObject:
    """How much of a map lies inside things."""

    share: float  # 0 to 1, of the map's mass on the frame; nan: the map is zero
    area: float  # 0 to 1, of the frame that the patches cover
    ratio: float  # share / area; 1: no more than chance; nan: nothing to be inside of

    @property
    def advantage(self) -> float:
        """Share minus area: 0 is chance; unlike the ratio it does not explode for small things."""
        return self.share - self.area


@dataclass(frozen=True)
class Pointing:
    """Whether the map's highest patch lies on a thing."""

    hit: float  # 1 or 0; between them where several patches are highest: the share of those that hit
    chance: float  # what a patch taken at random would get


def in_object(
    map: Float[np.ndarray, "R C"],
    coverage: Float[np.ndarray, "R C"],
    visible: Float[np.ndarray, "R C"] | None = None,
) -> InObject:
    """The share of ``map`` inside the things, divided by their share of the area (attention-in-object).

    A patch gives the things the part of its value that they cover of it.
    """
    seen = np.ones_like(coverage) if visible is None else visible
    whole = float((map * seen).sum())
    share = float((map * coverage).sum()) / whole if whole > 0 else float("nan")
    area = float(coverage.sum() / seen.sum())
    return InObject(share, area, share / area if area > 0 else float("nan"))


def pointing(map: Float[np.ndarray, "R C"], coverage: Float[np.ndarray, "R C"], least: float = 0.0) -> Pointing:
    """The pointing game: the highest patch hits if the things cover more than ``least`` of it.

    Nan where nothing is covered or the map is the same everywhere (it points nowhere).
    """
    hits = coverage > least
    chance = float(hits.mean())
    highest = map >= map.max()
    if not hits.any() or highest.all():
        return Pointing(float("nan"), chance)
    return Pointing(float(hits[highest].mean()), chance)


def nuisance_mass_ratio(significance: Float[np.ndarray, "R C"], coverage: Float[np.ndarray, "R C"], k: int) -> float:
    """NMR@k: 1 - (significance of the k highest patches that lies inside task things or robot / all of theirs).

    Patches that share the k-th place count each for the part that fits. Nan where the k highest are all zero.
    Raises ValueError for a k that is not 1 to the number of patches.
    """
    values, inside = significance.ravel(), coverage.ravel()
    if not 1 <= k <= len(values):
        raise ValueError(f"k is {k}; the map has {len(values)} patches")
    last = np.sort(values)[::-1][k - 1]
    above, tied = values > last, values == last
    weight = above + tied * ((k - above.sum()) / tied.sum())
    mass = float((weight * values).sum())
    return 1.0 - float((weight * values * inside).sum()) / mass if mass > 0 else float("nan")


def top_patches(share: float, patches: int) -> int:
    """k for a share of the patches, at least 1."""
    return max(1, round(share * patches))


def entropy(map: Float[np.ndarray, "*shape"]) -> float:
    """-sum p ln p of the map scaled to sum to one, divided by ln of its size: 0 one patch, 1 even.

    Nan where the map is all zero or holds a nan.
    """
    flat = map.ravel().astype(np.float64)
    total = flat.sum()
    if not total > 0 or len(flat) < 2:
        return float("nan")
    p = flat[flat > 0] / total
    return abs(float(-(p * np.log(p)).sum() / np.log(len(flat))))
