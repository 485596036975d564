"""The action lens and the heads that look at one place, as page and `compare --json` show them."""

from __future__ import annotations

import json

import pytest

from analysis.evidence.describe import judged_values
from analysis.evidence.inside import heads_of, lens_of
from analysis.evidence.measurements import MeasuredStep, Measurements, Place
from analysis.evidence.pair import judged
from models.planted import Planted


def measured(*steps: dict[str, float]) -> Measurements:
    """Two steps an episode."""
    places = [Place(f"e{number // 2}", f"{number // 2:016x}", number % 2) for number in range(len(steps))]
    return Measurements("d" * 16, "one", tuple(map(MeasuredStep, places, steps)), {})


LENS = {"lens 0 to last": 0.5, "lens 0 agrees": 0.25, "lens 0 mass": 0.9, "lens 1 to last": 0.0, "lens 1 agrees": 1.0}
HEADS = {"localises 0.3 on wrist": 0.0, "localises 1.2 on front": 1.0}


def test_every_layer_and_every_ranked_head_is_there_averaged_over_episodes() -> None:
    found = measured(LENS | HEADS, LENS | HEADS, LENS | HEADS, {**LENS, **HEADS, "localises 0.3 on wrist": 1.0})
    layers = lens_of(found)
    assert [(each.layer, each.to_last.value, each.agrees.value) for each in layers] == [(0, 0.5, 0.25), (1, 0.0, 1.0)]
    heads = heads_of(found)
    assert [(each.layer, each.head, each.camera) for each in heads] == [(1, 2, "front"), (0, 3, "wrist")]
    assert [each.share.value for each in heads] == pytest.approx([1.0, 0.25]) and heads[0].share.n == 2


def test_what_was_not_measured_is_left_out() -> None:
    assert lens_of(measured({"image share": 0.5})) == heads_of(measured({"image share": 0.5})) == ()


def test_a_comparison_says_them_as_json() -> None:
    told = json.loads(json.dumps(judged_values(judged(Planted("patch").info, measured(LENS | {"localises 2.1": 1.0})))))
    assert [(each["layer"], each["bits_to_last"]["value"]) for each in told["lens"]] == [(0, 0.5), (1, 0.0)]
    (head,) = told["heads"]
    assert (head["layer"], head["head"], head["camera"], head["share"]["value"]) == (2, 1, None, 1.0)
