"""Attention laid out on the image: maps over patches, who looks at a patch, and heads that look at one place.

Formulas in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from analysis.attention import image_positions
from models.errors import UserError
from models.types import AttentionRecord, Part, PatchGrid, TokenLayout


@dataclass(frozen=True)
class HeadScore:
    """How a head attends to one image, averaged over queries."""

    layer: int
    head: int
    camera: str
    image_share: float  # 0 to 1: attention on the image's tokens
    spatial_entropy: float  # nats; 0: all in one connected place


def patch_grid(layout: TokenLayout, camera: str | None = None) -> PatchGrid:
    """Where an image's tokens lie on the frame; ``camera`` may be left out where there is one.

    Raises UserError if the sequence has no such image, has several and none was named, or has it in several tiles.
    """
    grids = [s.grid for s in layout.spans if s.part is Part.IMAGE and s.grid is not None and camera in (None, s.name)]
    if len(grids) > 1 and len({grid.camera for grid in grids}) == 1:
        raise UserError(f"the image {grids[0].camera} is read in {len(grids)} tiles, which together are no single grid")
    if len(grids) != 1:
        cameras = ", ".join(span.name for span in layout.spans if span.part is Part.IMAGE) or "none"
        raise UserError(f"the image {camera or '(unnamed)'} is not one of the sequence's; it has {cameras}")
    return grids[0]


def image_map(
    rows: Float[np.ndarray, "*rows K"], layout: TokenLayout, camera: str | None = None
) -> Float[np.ndarray, "*rows R C"]:
    """The part of each row that falls on one image, as [rows, columns] of its patches; not renormalised."""
    grid = patch_grid(layout, camera)
    positions = image_positions(layout, camera)
    return rows[..., positions].reshape(*rows.shape[:-1], grid.rows, grid.columns)


def looking_at(rows: Float[np.ndarray, "*rows Q K"], position: int) -> Float[np.ndarray, "*rows Q"]:
    """The inverse question: how much of its attention each query spends on one position, such as a patch."""
    if not 0 <= position < rows.shape[-1]:
        raise UserError(f"there is no position {position}; the sequence has positions 0 to {rows.shape[-1] - 1}")
    return rows[..., position]


def spatial_entropy(maps: Float[np.ndarray, "*rows R C"]) -> Float[np.ndarray, "*rows"]:
    """Entropy of how attention splits over connected places, in nats (after Kang et al., 2025, arXiv 2503.06287).

    Patches above the map's mean are joined with their eight neighbours into components; p_i is the attention inside
    component i divided by that inside all of them; H = -sum p_i ln p_i. A uniform map has no patch above its mean and
    gets infinity: it points nowhere.
    """
    flat = maps.reshape(-1, *maps.shape[-2:]).astype(np.float64)
    # a uniform map's mean can miss its entries by a rounding error, which must not make components
    above = flat > flat.mean(axis=(1, 2), keepdims=True) * (1 + 1e-6)
    labels = _components(above)
    out = np.full(len(flat), np.inf)
    for index in np.flatnonzero(above.any(axis=(1, 2))):
        mass = np.bincount(labels[index][above[index]], weights=flat[index][above[index]])
        share = mass[mass > 0] / mass.sum()
        out[index] = abs(-(share * np.log(share)).sum())  # abs: no -0.0
    return out.reshape(maps.shape[:-2])


def rank_heads(
    record: AttentionRecord, cameras: Sequence[str] | None = None, least_share: float | None = None
) -> tuple[HeadScore, ...]:
    """Heads that look at one place of an image, most pointed first; each with the image on which it does so best.

    Ranked are all pairs of a head and one of ``cameras`` (None: the only one); a head stands where its first pair does.
    Pairs whose image share, averaged over all captured queries, is below ``least_share`` (None: the median over pairs)
    come last, by falling share; the others are ordered by rising spatial entropy of their mean map, then falling share.
    """
    scores = [score for camera in cameras or (patch_grid(record.layout).camera,) for score in _scores(record, camera)]
    bound = float(np.median([score.image_share for score in scores])) if least_share is None else least_share

    def order(score: HeadScore) -> tuple[bool, float, float]:
        looks = score.image_share >= bound
        return (not looks, score.spatial_entropy if looks else 0.0, -score.image_share)

    first: dict[tuple[int, int], HeadScore] = {}
    for score in sorted(scores, key=order):
        first.setdefault((score.layer, score.head), score)
    return tuple(first.values())


def _scores(record: AttentionRecord, camera: str) -> list[HeadScore]:
    """Of every head on one image."""
    maps = image_map(record.weights, record.layout, camera).astype(np.float64).mean(axis=2)  # [L, A, R, C]
    shares, entropies = maps.sum(axis=(2, 3)), spatial_entropy(maps)
    return [
        HeadScore(layer, head, camera, float(shares[row, head]), float(entropies[row, head]))
        for row, layer in enumerate(record.layers)
        for head in range(shares.shape[1])
    ]


def _components(above: Bool[np.ndarray, "N R C"]) -> np.ndarray:
    """Every patch's component as a number, by letting the largest number of a neighbourhood spread until all rest."""
    rows, columns = above.shape[1:]
    labels = np.where(above, np.arange(rows * columns).reshape(rows, columns), -1)
    while True:
        padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        around = [padded[:, r : r + rows, c : c + columns] for r in range(3) for c in range(3)]
        spread = np.where(above, np.max(around, axis=0), -1)
        if np.array_equal(spread, labels):
            return labels
        labels = spread
