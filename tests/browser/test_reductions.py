"""The player's reductions are those of analysis/attention.py: the same numbers from random rows."""

from __future__ import annotations

import itertools
import json
from typing import Any, Literal, get_args, get_origin, get_type_hints

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
    """What ``expression`` gives in the player's own modules; ``g`` holds the rows of ``query``.

    ``all`` holds every row averaged over heads, ``queries`` the rows of each query.
    """
    page = browser.new_page()
    page.goto(f"{server}/lens/episode?dataset=none&episode=none")  # any page of the server: modules load from there
    rows = json.dumps(record.weights[:, :, query].ravel().tolist())
    each = json.dumps(record.weights.transpose(2, 0, 1, 3).reshape(K, -1).tolist())
    everything = json.dumps(record.weights.mean(axis=1).tolist())
    found = page.evaluate(
        f"""async () => {{
            const r = await import("{PLAYER.address}/reductions.js");
            const g = {{ rows: Float32Array.from({rows}), layers: {L}, heads: {A}, positions: {K} }};
            const all = {everything};
            const queries = {each}.map((rows) => ({{ ...g, rows: Float32Array.from(rows) }}));
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
        (f"r.rollout((l, q) => all[l][q], {L}, {QUERY}, {K})", lambda rec: attention.rollout(rec, (QUERY,))[0]),
    ],
)
def test_same_numbers(browser: Any, server: str, record: AttentionRecord, expression: str, expected: Any) -> None:
    found = in_browser(browser, server, expression, record, QUERY)
    np.testing.assert_allclose(found, expected(record), atol=2e-6)


CHOICES = {name: get_args(kind) for name, kind in get_type_hints(attention.TopK).items() if get_origin(kind) is Literal}


@pytest.mark.parametrize("layers", [(0, 1, 2), (1, 2)])
def test_every_choice_of_the_top_k_fusion(
    browser: Any, server: str, record: AttentionRecord, layers: tuple[int, ...]
) -> None:
    """Rows, then the chosen layers and heads, of every combination of settings, in one go."""
    settings = [
        attention.TopK(k=k, layers=layers, **dict(zip(CHOICES, values, strict=True)))
        for values in itertools.product(*CHOICES.values())
        for k in (1, 2)
    ]
    made = json.dumps([{name: getattr(one, name) for name in ("k", *CHOICES)} for one in settings])
    expression = f"""{made}.flatMap((settings) => {{
        const shared = r.meanScores(queries, {list(layers)}, image, settings);
        const over = settings.ranked_over === "all queries" ? [shared] : [];
        const {{ row, chosen }} = r.topK(g, {list(layers)}, image, settings, ...over);
        return [...row, chosen.length, ...chosen.flatMap((one) => [one.layer, one.head])];
    }})"""
    found = in_browser(browser, server, expression, record, QUERY)
    expected: list[float] = []
    for one in settings:
        fusion = attention.top_k(record, one)
        chosen = fusion.chosen[QUERY]
        expected += [*fusion.rows[QUERY], len(chosen), *(number for pair in chosen for number in pair)]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_player_offers_pythons_choices(browser: Any, server: str, record: AttentionRecord) -> None:
    assert set(CHOICES) == {"keep", "ranked_by", "ranked_over", "fuse"}
    page = browser.new_page()
    page.goto(f"{server}/lens/episode?dataset=none&episode=none")
    state = page.evaluate(f"async () => ({{ ...(await import('{PLAYER.address}/view_state.js')) }})")
    page.close()
    assert {name: tuple(state["CHOICES"][name]) for name in CHOICES} == CHOICES
    assert {name: state["DEFAULTS"][name] for name in ("k", *CHOICES)} == {
        name: getattr(attention.TopK(), name) for name in ("k", *CHOICES)
    }
