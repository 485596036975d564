"""Shares per span, with the sink apart, on hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.attention_share import share_per_span, sink_positions, without_sink
from models.types import Part, Span, TokenLayout

LAYOUT = TokenLayout(  # two patches, <bos>, two words, then generated: <obs>, a word, an action
    (*tuple("0123456"), "x"),
    (
        Span(Part.IMAGE, "camera", 0, 2),
        Span(Part.SPECIAL, "bos", 2, 3),
        Span(Part.INSTRUCTION, "instruction", 3, 5),
        Span(Part.SPECIAL, "<obs>", 5, 6),
        Span(Part.RATIONALE, "observation", 6, 7),
        Span(Part.ACTION, "x", 7, 8),
    ),
)
ROW = np.array([0.1, 0.1, 0.5, 0.05, 0.05, 0.1, 0.1, 0.0])


def test_sinks_are_the_special_tokens_of_the_prompt_alone():
    np.testing.assert_array_equal(sink_positions(LAYOUT, generated=3), [2])
    np.testing.assert_array_equal(sink_positions(LAYOUT, generated=0), [2, 5])


def test_shares_with_the_sink_apart():
    found = share_per_span(ROW, LAYOUT, sink_positions(LAYOUT, 3))
    assert [span.name for span in found.spans] == ["camera", "instruction", "<obs>", "observation", "x"]
    np.testing.assert_allclose(found.shares, [0.2, 0.1, 0.1, 0.1, 0.0])
    assert found.sink == pytest.approx(0.5)
    assert found.of(Part.IMAGE) == pytest.approx(0.2)
    assert found.of(Part.STATE) == 0


def test_shares_without_sinks_are_one_a_span():
    found = share_per_span(ROW, LAYOUT)
    np.testing.assert_allclose(found.shares, [0.2, 0.5, 0.1, 0.1, 0.1, 0.0])
    assert found.sink == 0


def test_shares_keep_the_axes_before_positions():
    weights = np.broadcast_to(ROW, (2, 3, 4, 8))
    found = share_per_span(weights, LAYOUT, (2,))
    assert found.shares.shape == (2, 3, 4, 5) and found.sink.shape == (2, 3, 4)
    np.testing.assert_allclose(found.shares.sum(axis=-1) + found.sink, 1)


def test_a_span_that_is_partly_a_sink_keeps_the_rest():
    found = share_per_span(ROW, LAYOUT, (3,))
    assert found.shares[[span.name for span in found.spans].index("instruction")] == pytest.approx(0.05)
    assert found.sink == pytest.approx(0.05)


def test_rows_without_the_sink_sum_to_one_again():
    np.testing.assert_allclose(without_sink(ROW, (2,)), [0.2, 0.2, 0, 0.1, 0.1, 0.2, 0.2, 0])
    assert ROW[2] == 0.5  # the input stays


def test_a_row_that_is_all_sink_becomes_zero():
    np.testing.assert_array_equal(without_sink(np.array([[0.0, 1.0], [0.5, 0.5]]), (1,)), [[0, 0], [1, 0]])
