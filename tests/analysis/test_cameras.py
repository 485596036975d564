"""Which cameras a policy sees."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.cameras import default_cameras, plan_cameras
from models.errors import UserError
from models.types import Observation

PI0 = ("observation.images.base_0_rgb", "observation.images.left_wrist_0_rgb")


@pytest.mark.parametrize(
    ("wanted", "offered", "pairs"),
    [
        ((), ("shoulder",), [("shoulder", "shoulder")]),
        ((), ("shoulder", "wrist"), [("shoulder", "shoulder")]),
        (("image",), ("shoulder", "wrist"), [("image", "shoulder")]),
        (("observation.images.wrist",), ("shoulder", "wrist"), [("observation.images.wrist", "wrist")]),
        (("a", "b"), ("b", "a"), [("a", "a"), ("b", "b")]),
        (
            ("observation.images.top", "observation.images.side"),
            ("side", "top", "x"),
            [("observation.images.top", "top"), ("observation.images.side", "side")],
        ),
        (("images/top", "side"), ("observation.images.top", "side"), [("images/top", "observation.images.top")]),
    ],
)
def test_names_are_matched_without_a_word(wanted, offered, pairs):
    plan = plan_cameras(wanted, offered)
    assert list(plan.pairs[: len(pairs)]) == pairs
    assert plan.note == ""


def test_what_has_no_name_in_common_is_matched_in_order_and_said():
    plan = plan_cameras((*PI0, "wrist"), ("high", "wrist", "low"))
    assert plan.pairs == ((PI0[0], "high"), (PI0[1], "low"), ("wrist", "wrist"))
    assert f"{PI0[0]} sees high, {PI0[1]} sees low" in plan.note and "matched in order" in plan.note


def test_a_last_part_that_two_share_decides_nothing():
    plan = plan_cameras(("left.rgb", "right.rgb"), ("rgb", "depth"))
    assert plan.pairs == (("left.rgb", "rgb"), ("right.rgb", "depth")) and "matched in order" in plan.note


def test_a_policy_that_reads_every_camera_gets_all_or_those_chosen():
    offered = ("one", "two", "three")
    assert plan_cameras((), offered, every=True).chosen == offered
    assert plan_cameras((), offered, ("three", "one"), every=True).pairs == (("three", "three"), ("one", "one"))
    assert default_cameras((), offered, offered, every=True)
    assert not default_cameras((), offered, ("one",), every=True)
    with pytest.raises(UserError, match="no camera 'nose'"):
        plan_cameras((), offered, ("nose",), every=True)
    assert plan_cameras(("two",), offered, every=False).pairs == (("two", "two"),)


def test_too_few_cameras_are_named():
    plan = plan_cameras(PI0, ("high",))
    assert plan.pairs == ((PI0[0], "high"),)
    assert plan.note.endswith(f"no camera left for {PI0[1]}.")


def test_a_choice_overrides_and_is_the_default_only_where_it_equals_it():
    plan = plan_cameras(("a", "b"), ("a", "b"), ("b", "a"))
    assert plan.pairs == (("a", "b"), ("b", "a"))
    assert plan_cameras((), ("one", "two"), ("two",)).pairs == (("two", "two"),)
    assert not default_cameras(("a", "b"), ("a", "b"), ("b", "a"))
    assert default_cameras(("a", "b"), ("b", "a"), ("a", "b")) and default_cameras((), ("one", "two"), ("one",))
    assert default_cameras((), ("one", "two"), None)


@pytest.mark.parametrize(
    ("wanted", "chosen", "sentence"),
    [
        ((), ("nose",), "no camera 'nose'; its cameras are one, two"),
        ((), ("one", "two"), "reads one camera; 2 were chosen"),
        (("a", "b"), ("one",), r"reads 2 cameras \(a, b\); 1 were chosen \(one\)"),
    ],
)
def test_a_choice_that_cannot_be(wanted, chosen, sentence):
    with pytest.raises(UserError, match=sentence):
        plan_cameras(wanted, ("one", "two"), chosen)


def test_the_policy_sees_its_own_names_only():
    images = {camera: np.full((2, 2, 3), value, np.uint8) for value, camera in enumerate(("x", "top", "side"))}
    seen = plan_cameras(("images.side", "images.top"), tuple(images)).seen(Observation(images, "look"))
    assert {name: int(image[0, 0, 0]) for name, image in seen.images.items()} == {"images.side": 2, "images.top": 1}
