"""Planted policies can be knocked out: what decides moves the action when its route is cut, nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import UserError
from models.knock_out import Cut, HeadCut, RouteCut
from models.planted import HEADS, LAYERS, Planted
from models.policy import Knockable
from models.types import Capture, Observation, Part, Rationale

ROUTES = {
    "image": RouteCut(Part.ACTION, Part.IMAGE),
    "instruction": RouteCut(Part.ACTION, Part.INSTRUCTION),
    "rationale": RouteCut(Part.ACTION, Part.RATIONALE),
    "observation": RouteCut(Part.ACTION, Part.RATIONALE, key_name="observation"),
    "planning": RouteCut(Part.ACTION, Part.RATIONALE, key_name="planning"),
    "image from words": RouteCut(Part.RATIONALE, Part.IMAGE),
    "special": RouteCut(Part.ACTION, Part.SPECIAL),
}
DECIDES = {
    "patch": {"image"},
    "word": {"instruction"},
    "rationale word": {"rationale", "observation"},
    "nothing": set(),
}


def seen() -> Observation:
    frame = np.zeros((16, 16, 3), np.uint8)
    frame[4:8, 4:8] = 255  # patch 5
    return Observation({"front": frame}, "take the red cup")


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("cause", DECIDES)
def test_only_the_route_to_what_decides_moves_the_action(cause: str, lies: bool) -> None:
    policy = Planted(cause, lies=lies)  # type: ignore[arg-type]
    assert isinstance(policy, Knockable)
    before = policy.predict(seen()).actions
    moved = {
        name
        for name, cut in ROUTES.items()
        if not np.array_equal(policy.predict_without(seen(), [cut]).actions, before)
    }
    assert moved == DECIDES[cause]


def test_each_head_carries_its_share() -> None:
    policy = Planted("patch")
    heads: list[Cut] = [HeadCut(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    values = [policy.predict_without(seen(), heads[:count]).actions[0, 0] for count in range(len(heads) + 1)]
    np.testing.assert_allclose(values, [1.0, 0.875, 0.75, 0.625, 0.5], atol=0.026)  # rounded to bins of 0.05
    half = policy.predict_without(seen(), [RouteCut(Part.ACTION, Part.IMAGE, layers=(0,))])
    assert half.actions[0, 0] == values[2]


def test_captured_rows_are_those_of_the_cut_run() -> None:
    found = Planted("patch").predict_without(seen(), [RouteCut(Part.ACTION, Part.IMAGE, heads=(1,))], Capture())
    (record,) = found.attention
    rows = [row for row, query in enumerate(record.queries) if query + 1 in found.layout.positions(Part.ACTION)]
    image = record.weights[:, :, rows][..., found.layout.positions(Part.IMAGE)]
    assert image[:, 0].any() and not image[:, 1].any()
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-6)


def test_a_forced_rationale_keeps_its_parts_and_a_cut_must_meet_something() -> None:
    policy = Planted("rationale word")
    said = policy.predict(seen(), force=Rationale({"planning": "grasp the red cup"}))
    assert said.actions[0, 0] == pytest.approx(0.8) and dict(said.rationale.parts) == {"planning": "grasp the red cup"}
    with pytest.raises(UserError, match="action->rationale:observation cut nothing"):
        policy.predict_without(seen(), [ROUTES["observation"]], force=said.rationale)
    with pytest.raises(UserError, match="there is no layer 2"):
        policy.predict_without(seen(), [HeadCut(2, 0)])
