"""Attention on the image: maps, who looks at a patch, spatial entropy and the ranking of heads by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.attention_map import image_map, looking_at, patch_grid, rank_heads, spatial_entropy
from models.errors import UserError
from models.fakes import ON_PATCH, PlantedPolicy
from models.types import AttentionRecord, Capture, Observation, Part, PatchGrid, Span, TokenLayout


def layout(*grids: PatchGrid) -> TokenLayout:
    """<bos>, then one image after the other, then a word."""
    spans, position = [Span(Part.SPECIAL, "bos", 0, 1)], 1
    for grid in grids:
        stop = position + grid.rows * grid.columns
        spans.append(Span(Part.IMAGE, grid.camera, position, stop, grid))
        position = stop
    spans.append(Span(Part.INSTRUCTION, "instruction", position, position + 1))
    return TokenLayout(tuple(map(str, range(position + 1))), tuple(spans))


FRONT, WRIST = PatchGrid("front", 2, 3, (0, 0, 30, 20)), PatchGrid("wrist", 1, 2, (0, 0, 20, 10))
BOTH = layout(FRONT, WRIST)  # 0 bos, 1-6 front, 7-8 wrist, 9 word


def test_a_map_is_row_by_row():
    rows = np.arange(10.0)
    np.testing.assert_array_equal(image_map(rows, BOTH, "front"), [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(image_map(rows, BOTH, "wrist"), [[7, 8]])
    assert image_map(np.zeros((4, 2, 10)), BOTH, "front").shape == (4, 2, 2, 3)


def test_one_camera_needs_no_name_and_several_do():
    assert patch_grid(layout(FRONT)) == FRONT
    for camera in (None, "side"):
        with pytest.raises(UserError, match="it has front, wrist"):
            patch_grid(BOTH, camera)


def test_an_image_in_tiles_is_no_single_grid():
    with pytest.raises(UserError, match="front is read in 2 tiles"):
        patch_grid(layout(FRONT, PatchGrid("front", 1, 2, (0, 20, 30, 40))))


def test_who_looks_at_a_patch():
    rows = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    np.testing.assert_array_equal(looking_at(rows, 1), [0.9, 0.2, 0.7])
    with pytest.raises(UserError, match="no position 2"):
        looking_at(rows, 2)


def test_map_and_inverse_agree_on_planted_attention():
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[2:, :2] = 255  # the brightest patch is number 2
    record = PlantedPolicy().predict(Observation({"front": frame}, "look"), Capture()).attention[0]
    maps = image_map(record.weights[0, 0], record.layout)
    assert (maps.reshape(len(maps), -1).argmax(axis=1) == 2).all()
    np.testing.assert_allclose(looking_at(record.weights[0, 0], 2), ON_PATCH)


@pytest.mark.parametrize(
    ("picture", "entropy"),
    [
        ([[1, 0, 0], [0, 0, 0]], 0.0),  # one place
        ([[1, 0, 0], [0, 1, 0]], 0.0),  # neighbours over a corner are one place
        ([[1, 0, 1], [0, 0, 0]], np.log(2)),  # two even places
        ([[3, 0, 1], [0, 0, 0]], -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))),
        ([[0.2, 0.2, 0.2], [0.2, 0.2, 0.2]], np.inf),  # points nowhere
        ([[0, 0, 0], [0, 0, 0]], np.inf),
    ],
)
def test_spatial_entropy(picture, entropy):
    assert spatial_entropy(np.array(picture, float)) == pytest.approx(entropy)


def test_spatial_entropy_of_a_long_winding_place():
    picture = np.zeros((7, 7))
    picture[[0, 1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1, 0]] = 1  # joined by corners from end to end
    assert spatial_entropy(picture) == 0
    picture[3] = 0
    assert spatial_entropy(picture) == pytest.approx(np.log(2))


def test_spatial_entropy_keeps_leading_axes():
    assert spatial_entropy(np.random.default_rng(0).random((2, 3, 4, 5))).shape == (2, 3)


def test_heads_that_look_at_one_place_come_first():
    rows = np.zeros((1, 4, 1, 10))
    rows[0, 0, 0, [1, 3]] = 0.4  # two places, share 0.8
    rows[0, 1, 0, 2] = 0.7  # one place, share 0.7
    rows[0, 2, 0, 1] = 0.1  # one place, but hardly looks
    rows[0, 3, 0, 1:7] = 0.15  # all over, share 0.9
    rows[..., 0] = 1 - rows.sum(axis=-1)
    record = AttentionRecord(rows, (3,), (9,), (0,), BOTH)
    ranked = rank_heads(record, ["front"], least_share=0.5)
    assert [(score.layer, score.head) for score in ranked] == [(3, 1), (3, 0), (3, 3), (3, 2)]
    assert ranked[0].image_share == pytest.approx(0.7) and ranked[0].spatial_entropy == 0
    # the median share is 0.75: head 1 now falls below it
    assert [score.head for score in rank_heads(record, ["front"])] == [0, 3, 1, 2]


def test_a_head_is_ranked_by_the_camera_on_which_it_points_best():
    rows = np.zeros((1, 3, 1, 10))
    rows[0, 0, 0, 1:7] = 0.1  # all over the front, share 0.6
    rows[0, 0, 0, 7] = 0.3  # one place of the wrist
    rows[0, 1, 0, [1, 6]] = 0.35, 0.35  # two places of the front
    rows[0, 2, 0, 3] = 0.8  # one place of the front
    rows[..., 0] = 1 - rows.sum(axis=-1)
    record = AttentionRecord(rows, (3,), (9,), (0,), BOTH)
    found = [(score.head, score.camera) for score in rank_heads(record, ["front", "wrist"], least_share=0.25)]
    assert found == [(2, "front"), (0, "wrist"), (1, "front")]
    assert [score.head for score in rank_heads(record, ["front"], least_share=0.25)] == [2, 1, 0]
    with pytest.raises(UserError, match="has front, wrist"):
        rank_heads(record)
