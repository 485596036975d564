"""How much of each patch a thing covers, patches partly covered counted by the part. Formulas in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from analysis.types import SceneObject
from models.types import PatchGrid

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the original frame


def patch_coverage(grid: PatchGrid, mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "R C"]:
    """Share of every patch's rectangle that ``mask`` covers, 0 to 1. Pixel (y, x) is the square [x, x+1) x [y, y+1).

    The part of a patch that lies outside of the frame counts as not covered.
    """
    rows, columns = _overlaps(grid, mask.shape[0], mask.shape[1])
    left, top, right, bottom = grid.box
    patch = (right - left) / grid.columns * (bottom - top) / grid.rows
    return rows @ mask.astype(np.float64) @ columns.T / patch


def visible_share(grid: PatchGrid, height: int, width: int) -> Float[np.ndarray, "R C"]:
    """Share of every patch's rectangle that lies on the frame: less than one at a letterbox's bars."""
    return patch_coverage(grid, np.ones((height, width), dtype=bool))


def box_mask(boxes: Sequence[Box], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The pixels whose centre lies in any of ``boxes``."""
    mask = np.zeros((height, width), dtype=bool)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for left, top, right, bottom in boxes:
        mask |= ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None, :]
    return mask


def box_coverage(grid: PatchGrid, box: Box, height: int, width: int) -> Float[np.ndarray, "R C"]:
    """As `patch_coverage` for one box, to fractions of a pixel; what lies outside of the frame is cut off."""
    left, top, right, bottom = grid.box
    x = np.clip(np.linspace(left, right, grid.columns + 1), max(box[0], 0.0), max(min(box[2], width), box[0], 0.0))
    y = np.clip(np.linspace(top, bottom, grid.rows + 1), max(box[1], 0.0), max(min(box[3], height), box[1], 0.0))
    patch = (right - left) / grid.columns * (bottom - top) / grid.rows
    return np.outer(np.diff(y), np.diff(x)) / patch


def object_mask(things: Sequence[SceneObject], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """All ``things`` together: their masks, or the boxes of those that have no mask."""
    mask = box_mask([thing.box for thing in things if thing.mask is None and thing.box is not None], height, width)
    for thing in things:
        if thing.mask is not None:
            mask = mask | thing.mask
    return mask


def _overlaps(grid: PatchGrid, height: int, width: int) -> tuple[Float[np.ndarray, "R H"], Float[np.ndarray, "C W"]]:
    """Length in pixels that every patch row shares with every pixel row, and the same of columns."""
    left, top, right, bottom = grid.box
    return _shared(top, bottom, grid.rows, height), _shared(left, right, grid.columns, width)


def _shared(start: float, stop: float, parts: int, pixels: int) -> Float[np.ndarray, "parts pixels"]:
    edges = np.linspace(start, stop, parts + 1)
    pixel = np.arange(pixels)
    low = np.maximum(edges[:-1, None], pixel[None])
    high = np.minimum(edges[1:, None], pixel[None] + 1)
    return np.maximum(high - low, 0.0)
