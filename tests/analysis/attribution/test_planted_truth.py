"""Policies whose action depends on one patch, one word, one rationale word or nothing: every causal method finds it."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.registry import method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from models.errors import UserError
from models.planted import Planted
from models.types import Observation, Part

SETTINGS = {
    "iss": {"masks": 128, "over": "patches"},
    "occlusion": {"size": 1, "stride": 1},
    "ablation": {"over": "patches"},
    "shapley": {"over": "patches", "orders": 4},
}
TARGETS = (Target(scalar="action"), Target(action="reach", scalar="action"), Target(action="grip"))


def seen(instruction: str = "pick the red cup up") -> Observation:
    random = np.random.default_rng(3)
    patches = random.integers(20, 90, (4, 4)).astype(np.uint8)
    patches[1, 1] = 230  # number 5, which decides
    return Observation({"image": np.repeat(np.kron(patches, np.ones((8, 8), np.uint8))[:, :, None], 3, 2)}, instruction)


def explained(policy: Planted, method: str, target: Target, **more: object) -> AttributionMap:
    chosen = with_settings(method_class(method), SETTINGS.get(method, {}) | more)  # type: ignore[arg-type]
    return chosen(policy, seen(), target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.text} {target.scalar}")
@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("lies", [False, True])
def test_the_patch_is_found_whatever_attention_says(method: str, target: Target, lies: bool) -> None:
    found = explained(Planted("patch", lies=lies), method, target)
    assert np.abs(found.image()).argmax() == 5
    others = np.abs(np.delete(found.image().ravel(), 5))
    assert others.max() < 0.5 * np.abs(found.image()).max()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.text} {target.scalar}")
@pytest.mark.parametrize("method", ["ablation", "shapley"])
@pytest.mark.parametrize("cause", ["word", "rationale word"])
def test_the_word_is_found(cause: str, method: str, target: Target) -> None:
    policy = Planted(cause, lies=True)  # type: ignore[arg-type]
    found = explained(policy, method, target, over="words" if cause == "word" else "rationale")
    part = Part.INSTRUCTION if cause == "word" else Part.RATIONALE
    best = int(np.abs(found.scores).argmax())
    assert found.layout.tokens[best] == "red" and best in found.layout.positions(part)
    assert np.count_nonzero(np.abs(found.scores) > 1e-9) == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", SETTINGS)
def test_nothing_is_found_where_there_is_nothing(method: str) -> None:
    assert not explained(Planted("nothing"), method, TARGETS[0]).scores.any()


def test_attention_points_at_the_lie() -> None:
    found = explained(Planted("patch", lies=True), "attention-mean", Target(action="reach"))
    assert found.image().argmax() == 10
    honest = explained(Planted("patch"), "attention-mean", Target(action="reach"))
    assert honest.image().argmax() == 5
    # a row of 0.8 on the place and 0.2 spread over what the query can see
    query = len(honest.layout.tokens) - 3
    assert honest.image()[1, 1] == pytest.approx(0.8 + 0.2 / (query + 1))


def test_shapley_values_of_the_whole_action_add_up_to_how_far_it_moves() -> None:
    found = explained(Planted("patch"), "shapley", Target(scalar="action"))
    assert found.scores.sum() == pytest.approx(-found.notes["value with all hidden"])


def test_no_rationale_has_no_words_to_take_out() -> None:
    with pytest.raises(UserError, match="wrote no rationale"):
        explained(Planted("patch", says=()), "ablation", TARGETS[0], over="rationale")
