"""Grounding metrics on a 2 x 2 grid over a frame of 4 x 4 pixels, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.metrics.coverage import box_coverage, box_mask, object_mask, patch_coverage, visible_share
from analysis.metrics.grounding import entropy, in_object, nuisance_mass_ratio, pointing, top_patches
from analysis.types import SceneObject
from models.types import PatchGrid

GRID = PatchGrid("image", 2, 2, (0.0, 0.0, 4.0, 4.0))
BAR = PatchGrid("image", 2, 2, (-2.0, 0.0, 6.0, 4.0))  # letterbox: half of every patch hangs out of the frame


def mask(*pixels: tuple[int, int]) -> np.ndarray:
    out = np.zeros((4, 4), dtype=bool)
    for y, x in pixels:
        out[y, x] = True
    return out


def test_a_patch_is_covered_by_the_part_that_the_mask_takes_of_it() -> None:
    # three of the four pixels of the first patch, one of the last
    got = patch_coverage(GRID, mask((0, 0), (0, 1), (1, 0), (3, 3)))
    assert got == pytest.approx(np.array([[0.75, 0.0], [0.0, 0.25]]))


def test_pixels_that_two_patches_share_count_for_both_by_their_part() -> None:
    odd = PatchGrid("image", 1, 2, (0.0, 0.0, 3.0, 1.0))  # patches of 1.5 x 1 pixels; the middle pixel is split
    frame = np.array([[False, True, False]])
    assert patch_coverage(odd, frame) == pytest.approx(np.array([[0.5 / 1.5, 0.5 / 1.5]]))
    assert box_coverage(odd, (1.0, 0.0, 2.0, 1.0), 1, 3) == pytest.approx(patch_coverage(odd, frame))


def test_bars_of_a_letterbox_are_no_frame() -> None:
    assert visible_share(BAR, 4, 4) == pytest.approx(np.full((2, 2), 0.5))
    # a box that reaches out of the frame is cut off at its edge
    assert box_coverage(BAR, (-2.0, 0.0, 1.0, 2.0), 4, 4) == pytest.approx(np.array([[0.25, 0.0], [0.0, 0.0]]))
    everywhere = np.full((2, 2), 0.25)
    left = box_coverage(BAR, (0.0, 0.0, 2.0, 4.0), 4, 4)
    assert in_object(everywhere, left, visible_share(BAR, 4, 4)).ratio == pytest.approx(1.0)


def test_a_box_outside_the_grid_covers_nothing() -> None:
    assert box_coverage(GRID, (9.0, 9.0, 12.0, 12.0), 4, 4).sum() == 0
    assert box_coverage(GRID, (-9.0, -9.0, -2.0, -2.0), 4, 4).sum() == 0


def test_masks_go_before_boxes() -> None:
    things = (
        SceneObject("a", box=(0.0, 0.0, 4.0, 4.0), mask=mask((0, 0))),
        SceneObject("b", box=(2.0, 2.0, 4.0, 3.0)),
        SceneObject("no place"),
    )
    assert np.argwhere(object_mask(things, 4, 4)).tolist() == [[0, 0], [2, 2], [2, 3]]
    assert np.array_equal(box_mask([(0.4, 0.4, 1.6, 1.6)], 4, 4), mask((0, 0), (0, 1), (1, 0), (1, 1)))


def test_attention_in_object() -> None:
    attention = np.array([[0.4, 0.2], [0.0, 0.2]])  # half of the first patch: 0.2 of 0.8, on an eighth of the area
    got = in_object(attention, np.array([[0.5, 0.0], [0.0, 0.0]]))
    assert (got.share, got.area, got.ratio) == pytest.approx((0.25, 0.125, 2.0))
    assert got.advantage == pytest.approx(0.125)


def test_an_even_map_is_at_chance_and_nothing_is_nan() -> None:
    cover = np.array([[0.3, 0.0], [0.1, 1.0]])
    assert in_object(np.full((2, 2), 0.25), cover).ratio == pytest.approx(1.0)
    assert np.isnan(in_object(np.zeros((2, 2)), cover).share)
    assert np.isnan(in_object(np.ones((2, 2)), np.zeros((2, 2))).ratio)


def test_the_pointing_game() -> None:
    cover = np.array([[0.2, 0.0], [0.0, 0.0]])
    assert pointing(np.array([[3.0, 1.0], [1.0, 1.0]]), cover).hit == 1
    assert pointing(np.array([[1.0, 3.0], [1.0, 1.0]]), cover).hit == 0
    assert pointing(np.array([[3.0, 3.0], [1.0, 1.0]]), cover).hit == 0.5
    assert pointing(np.array([[3.0, 1.0], [1.0, 1.0]]), cover, least=0.5).chance == 0
    assert pointing(np.array([[3.0, 1.0], [1.0, 1.0]]), cover).chance == 0.25
    assert np.isnan(pointing(np.ones((2, 2)), cover).hit)
    assert np.isnan(pointing(np.array([[3.0, 1.0], [1.0, 1.0]]), np.zeros((2, 2))).hit)


def test_nuisance_mass_ratio() -> None:
    significance = np.array([[4.0, 3.0], [2.0, 1.0]])
    cover = np.array([[0.5, 1.0], [0.0, 1.0]])
    assert nuisance_mass_ratio(significance, cover, 1) == pytest.approx(0.5)
    assert nuisance_mass_ratio(significance, cover, 2) == pytest.approx(1 - 5 / 7)
    assert nuisance_mass_ratio(significance, cover, 4) == pytest.approx(1 - 6 / 10)


def test_patches_that_share_the_last_place_count_by_the_part_that_fits() -> None:
    significance = np.array([[2.0, 1.0], [1.0, 0.0]])  # k = 2: the 2 and half of each 1
    assert nuisance_mass_ratio(significance, np.array([[1.0, 1.0], [0.0, 0.0]]), 2) == pytest.approx(1 - 2.5 / 3)
    assert np.isnan(nuisance_mass_ratio(np.zeros((2, 2)), np.ones((2, 2)), 2))
    with pytest.raises(ValueError, match="4 patches"):
        nuisance_mass_ratio(significance, np.ones((2, 2)), 5)


def test_top_patches_and_entropy() -> None:
    assert (top_patches(0.1, 64), top_patches(0.001, 64)) == (6, 1)
    assert entropy(np.full((2, 2), 3.0)) == pytest.approx(1.0)
    assert entropy(np.array([[1.0, 0.0], [0.0, 0.0]])) == 0
    assert entropy(np.array([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx(0.5)
    assert np.isnan(entropy(np.zeros((2, 2))))
