"""The player's reductions are those of analysis/attention.py: the same numbers from random rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from analysis import attention
from app.player_files import PLAYER
from models.types import AttentionRecord, Part, PatchGrid, Span, TokenLayout

pytestmark = [pytest.mark.browser, pytest.mark.slow]

L, A, K, IMAGE = 3, 4, 14, 6


@pytest.fixture(scope="module")
def record() -> AttentionRecord:
    random = np.random.default_rng(3)
    weights = np.tril(random.random((L, A, K, K)) + 0.01)
    weights /= weights.sum(axis=-1, keepdims=True)
    spans = (
        Span(Part.IMAGE, "camera", 0, IMAGE, PatchGrid("camera", 2, 3, (0, 0, 30, 20))),
        Span(Part.INSTRUCTION, "instruction", IMAGE, K),
    )
    layout = TokenLayout(tuple(str(i) for i in range(K)), spans)
    return AttentionRecord(weights.astype(np.float32), tuple(range(L)), tuple(range(K)), (-1,) * K, layout)


def in_browser(browser: Any, server: str, expression: str, record: AttentionRecord, query: int) -> Any:
    """What ``expression`` gives in the player's own modules; ``g`` holds the rows of ``query``, ``all`` every row."""
    page = browser.new_page()
    page.goto(f"{server}/lens/episode?dataset=none&episode=none")  # any page of the server: modules load from there
    rows = json.dumps(record.weights[:, :, query].ravel().tolist())
    everything = json.dumps(record.weights.mean(axis=1).tolist())
    found = page.evaluate(
        f"""async () => {{
            const r = await import("{PLAYER.address}/reductions.js");
            const g = {{ rows: Float32Array.from({rows}), layers: {L}, heads: {A}, positions: {K} }};
            const all = {everything};
            const image = [[0, {IMAGE}]];
            const out = {expression};
            return Array.from(out);
        }}"""
    )
    page.close()
    return np.array(found)


QUERY = 11


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("r.oneHead(g, 2, 1)", lambda rec: attention.one_head(rec, 2, 1)[QUERY]),
        ("r.meanHeads(g, [0, 1, 2])", lambda rec: attention.mean(rec)[QUERY]),
        ("r.meanHeads(g, [1])", lambda rec: attention.mean(rec, (1,))[QUERY]),
        ("r.maxHeads(g, [0, 2])", lambda rec: attention.maximum(rec, (0, 2))[QUERY]),
        ("r.topK(g, [0, 1, 2], image, 3).row", lambda rec: attention.top_k(rec, attention.TopK(k=3)).rows[QUERY]),
        (
            "r.topK(g, [1, 2], image, 5).row",
            lambda rec: attention.top_k(rec, attention.TopK(k=5, layers=(1, 2))).rows[QUERY],
        ),
        (f"r.rollout((l, q) => all[l][q], {L}, {QUERY}, {K})", lambda rec: attention.rollout(rec, (QUERY,))[0]),
    ],
)
def test_same_numbers(browser: Any, server: str, record: AttentionRecord, expression: str, expected: Any) -> None:
    found = in_browser(browser, server, expression, record, QUERY)
    np.testing.assert_allclose(found, expected(record), atol=2e-6)


def test_top_k_names_the_same_heads(browser: Any, server: str, record: AttentionRecord) -> None:
    fusion = attention.top_k(record, attention.TopK(k=4))
    found = in_browser(
        browser, server, "r.topK(g, [0, 1, 2], image, 4).chosen.flatMap((h) => [h.layer, h.head])", record, QUERY
    )
    assert [tuple(pair) for pair in found.reshape(-1, 2)] == [tuple(pair) for pair in fusion.chosen[QUERY]]
