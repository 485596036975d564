"""Reductions of attention on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.attention import TopK, image_positions, maximum, mean, one_head, rollout, top_k
from models.errors import UserError
from models.types import AttentionRecord, Part, PatchGrid, Span, TokenLayout

# positions 0, 1: image; 2: <bos>; 3: a word; 4: an action token
LAYOUT = TokenLayout(
    ("a", "b", "<bos>", "word", "x +1"),
    (
        Span(Part.IMAGE, "camera", 0, 2, PatchGrid("camera", 1, 2, (0, 0, 2, 1))),
        Span(Part.SPECIAL, "bos", 2, 3),
        Span(Part.INSTRUCTION, "instruction", 3, 4),
        Span(Part.ACTION, "x", 4, 5),
    ),
)
ROWS = np.array(  # two layers, two heads, one query at position 3
    [
        [[[0.5, 0.1, 0.2, 0.2, 0.0]], [[0.0, 0.0, 1.0, 0.0, 0.0]]],
        [[[0.2, 0.2, 0.2, 0.4, 0.0]], [[0.1, 0.6, 0.2, 0.1, 0.0]]],
    ]
)
RECORD = AttentionRecord(ROWS, layers=(0, 5), queries=(3,), produced=(0,), layout=LAYOUT)


def test_one_head():
    np.testing.assert_array_equal(one_head(RECORD, 5, 1), [[0.1, 0.6, 0.2, 0.1, 0.0]])
    with pytest.raises(UserError, match=r"layer 1 was not captured; the captured layers are 0, 5"):
        one_head(RECORD, 1, 0)
    with pytest.raises(UserError, match=r"no head 2; heads are 0 to 1"):
        one_head(RECORD, 0, 2)


def test_mean():
    np.testing.assert_allclose(mean(RECORD), [[0.2, 0.225, 0.4, 0.175, 0.0]])
    np.testing.assert_allclose(mean(RECORD, layers=(5,)), [[0.15, 0.4, 0.2, 0.25, 0.0]])
    with pytest.raises(UserError, match="no layer was chosen"):
        mean(RECORD, layers=())


def test_maximum():
    np.testing.assert_allclose(maximum(RECORD), [[0.5, 0.6, 1.0, 0.4, 0.0]])
    np.testing.assert_allclose(maximum(RECORD, layers=(0,)), [[0.5, 0.1, 1.0, 0.2, 0.0]])


def test_image_positions():
    np.testing.assert_array_equal(image_positions(LAYOUT), [0, 1])
    with pytest.raises(UserError, match="wrist; the sequence has camera"):
        image_positions(LAYOUT, "wrist")


# image attention: layer 0 has 0.6 and 0.0, layer 5 has 0.4 and 0.7; largest image weight: 0.5, 0.0, 0.2, 0.6
@pytest.mark.parametrize(
    ("settings", "row", "chosen"),
    [
        (TopK(k=1), [0.1, 0.6, 0.2, 0.1, 0.0], [(5, 1)]),
        (TopK(k=2), [0.3, 0.35, 0.2, 0.15, 0.0], [(5, 1), (0, 0)]),
        (TopK(k=2, fuse="max"), [0.5, 0.6, 0.2, 0.2, 0.0], [(5, 1), (0, 0)]),
        (TopK(k=1, layers=(0,)), [0.5, 0.1, 0.2, 0.2, 0.0], [(0, 0)]),
        (TopK(k=3), [0.8 / 3, 0.3, 0.2, 0.7 / 3, 0.0], [(5, 1), (0, 0), (5, 0)]),
        (TopK(k=1, keep="heads of each layer"), [0.3, 0.35, 0.2, 0.15, 0.0], [(0, 0), (5, 1)]),
        (TopK(k=1, keep="layers"), [0.15, 0.4, 0.2, 0.25, 0.0], [(5, -1)]),
        (TopK(k=2, ranked_by="largest image weight"), [0.3, 0.35, 0.2, 0.15, 0.0], [(5, 1), (0, 0)]),
        (TopK(k=2, keep="entries"), [0.35, 0.4, 0.6, 0.3, 0.0], []),
    ],
)
def test_top_k(settings, row, chosen):
    fusion = top_k(RECORD, settings)
    np.testing.assert_allclose(fusion.rows, [row])
    assert fusion.chosen == (tuple(chosen),)
    assert fusion.settings == settings


def test_top_k_breaks_ties_by_the_lower_layer_and_head():
    even = AttentionRecord(np.full((2, 2, 1, 5), 0.2), (0, 5), (3,), (0,), LAYOUT)
    assert top_k(even, TopK(k=3)).chosen == (((0, 0), (0, 1), (5, 0)),)


def test_top_k_ranks_for_each_query_or_for_all():
    rows = np.zeros((1, 2, 2, 5))
    rows[0, 0] = [[0.9, 0, 0.1, 0, 0], [0, 0, 1, 0, 0]]  # head 0: query 0 looks at the image, query 1 does not
    rows[0, 1] = [[0, 0, 1, 0, 0], [0.3, 0, 0.7, 0, 0]]
    record = AttentionRecord(rows, (0,), (2, 3), (0, 1), LAYOUT)
    assert top_k(record, TopK(k=1)).chosen == (((0, 0),), ((0, 1),))
    assert top_k(record, TopK(k=1, ranked_over="all queries")).chosen == (((0, 0),), ((0, 0),))


@pytest.mark.parametrize("settings", [TopK(k=0), TopK(k=5), TopK(k=3, layers=(0,)), TopK(k=3, keep="layers")])
def test_top_k_needs_as_many_as_it_keeps(settings):
    with pytest.raises(UserError, match=f"k = {settings.k}; here k can be 1 to"):
        top_k(RECORD, settings)


def causal(rows: list[list[list[float]]]) -> AttentionRecord:
    """Layers of one head each, a row for each of three positions."""
    layout = TokenLayout(("<bos>", "a", "b"), (Span(Part.SPECIAL, "bos", 0, 1), Span(Part.PROMPT, "prompt", 1, 3)))
    weights = np.array(rows, float)[:, None]
    return AttentionRecord(weights, tuple(range(len(rows))), (0, 1, 2), (-1, -1, 0), layout)


def test_rollout():
    # A' of layer 0: [[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]]; of layer 1: [[1, 0, 0], [0.25, 0.75, 0], [0.5, 0, 0.5]]
    record = causal([[[1, 0, 0], [1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0.5, 0.5, 0], [1, 0, 0]]])
    expected = np.array([[1, 0, 0], [0.625, 0.375, 0], [0.5, 0.25, 0.25]])  # A'_1 times A'_0
    np.testing.assert_allclose(rollout(record), expected)
    np.testing.assert_allclose(rollout(record, queries=(2,)), expected[2:])


def test_rollout_follows_attention_to_later_positions_of_a_bidirectional_prefix():
    record = causal([[[0, 0, 1], [0, 1, 0], [0, 0, 1]]])
    np.testing.assert_allclose(rollout(record, queries=(0,)), [[0.5, 0, 0.5]])


def test_rollout_normalises_rows_of_half_precision():
    record = causal([[[0.999, 0, 0], [1, 0, 0], [0, 1.001, 0]]])
    np.testing.assert_allclose(rollout(record).sum(axis=1), 1)


def test_rollout_says_which_row_is_missing():
    full = causal([[[1, 0, 0], [1, 0, 0], [0, 1, 0]]] * 2)
    partial = AttentionRecord(full.weights[:, :, [0, 2]], full.layers, (0, 2), (-1, 0), full.layout)
    with pytest.raises(UserError, match=r"position 1 \('a'\), whose attention was not captured"):
        rollout(partial)
    np.testing.assert_allclose(rollout(partial, queries=(0,)), [[1, 0, 0]])  # needs no other position


def test_rollout_needs_all_layers():
    with pytest.raises(UserError, match=r"every layer from 0 on; this record has layers 0, 5"):
        rollout(RECORD)


def test_rows_of_a_real_shape_sum_to_one():
    random = np.random.default_rng(0)
    weights = random.dirichlet(np.ones(5), size=(3, 4, 5))
    record = AttentionRecord(weights, (0, 1, 2), tuple(range(5)), (-1,) * 5, LAYOUT)
    for rows in (one_head(record, 1, 2), mean(record), rollout(record), top_k(record, TopK(k=5)).rows):
        np.testing.assert_allclose(rows.sum(axis=1), 1)
