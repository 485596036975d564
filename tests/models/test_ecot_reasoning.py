"""The text of embodied chain-of-thought: tags, boxes, points, also where the text is malformed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from models.errors import UserError
from models.families.ecot_reasoning import TAGS, forced_text, marks, parse, sections
from models.types import RATIONALE_TITLES, Rationale

# as the published example decodes it
PUBLISHED = (
    " Place the watermelon on the towel. PLAN: Move to the watermelon, grasp it, move it to the towel, release it. "
    "VISIBLE OBJECTS: a watermelon toy [88, 102, 124, 125], a blue towel [41, 101, 157, 184], a metal pot [1, 80, 57, "
    "168] SUBTASK REASONING: The arm is above it. SUBTASK: Move to the watermelon. MOVE REASONING: It is to the left. "
    "MOVE: move left GRIPPER POSITION: [137, 68, 130, 69, 124, 71, 119, 74, 117, 77] ACTION:"
)
WHOLE = ((0, 0, 256, 256), (256, 256))


def test_every_tag_is_a_part_with_a_title() -> None:
    rationale = parse(PUBLISHED, "someone")
    assert rationale is not None
    tags = [name for name in RATIONALE_TITLES if name not in ("observation", "situation", "spatial", "planning")]
    assert list(rationale.parts) == tags
    assert rationale.parts["task"] == "Place the watermelon on the towel."
    assert rationale.parts["subtask"] == "Move to the watermelon."
    assert rationale.parts["subtask reasoning"] == "The arm is above it."
    assert rationale.parts["move"] == "move left"
    assert rationale.author == "someone"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", None),
        ("   ", None),
        ("pick it up", {"task": "pick it up"}),
        ("SUBTASK: go", {"subtask": "go"}),
        ("SUBTASK:go MOVE:left", {"subtask": "go", "move": "left"}),
        ("a PLAN: b PLAN: c", {"task": "a", "plan": "b c"}),
        ("a MOVE: b PLAN: c", {"task": "a", "move": "b", "plan": "c"}),
        ("a PLAN: MOVE: b", {"task": "a", "move": "b"}),
        ("TASK: a", {"task": "a"}),
        ("a task: b", {"task": "a task: b"}),
        ("a XSUBTASK: b", {"task": "a XSUBTASK: b"}),
        ("a ACTION: hm", {"task": "a", "action": "hm"}),
    ],
)
def test_tags_may_be_missing_repeated_or_in_another_order(text: str, parts: dict[str, str] | None) -> None:
    found = parse(text, "")
    assert (None if found is None else dict(found.parts)) == parts


def test_sections_tile_the_text() -> None:
    cut = sections(PUBLISHED)
    assert cut[0].start == 0
    assert all(one.stop == other.tag for one, other in pairwise(cut))
    assert cut[-1].stop == len(PUBLISHED)


def test_boxes_and_points_of_the_published_example() -> None:
    found = marks(PUBLISHED, "image", (0, 0, 640, 480), (480, 640))
    boxes = {mark.name: mark.at for mark in found if mark.kind == "box"}
    assert list(boxes) == ["a watermelon toy", "a blue towel", "a metal pot"]
    assert boxes["a watermelon toy"] == pytest.approx((88 * 2.5, 102 * 1.875, 124 * 2.5, 125 * 1.875))
    points = [(mark.name, mark.at) for mark in found if mark.kind == "point"]
    assert len(points) == 5
    assert points[0] == ("gripper", pytest.approx((137 * 2.5, 68 * 1.875)))
    assert points[1][0] == "gripper 1 later"
    assert {mark.camera for mark in found} == {"image"}


def test_positions_go_through_what_the_policy_saw() -> None:
    """Of a letterboxed 200 x 100 frame the policy saw a square from -50 to 150: outside, there is only border."""
    text = "VISIBLE OBJECTS: pot [64, 0, 192, 256] GRIPPER POSITION: [128, 128]"
    box, point = marks(text, "image", (0, -50, 200, 150), (100, 200))
    assert box.at == (50, 0, 150, 100)
    assert point.at == (100, 50)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("pot [10, 20, 60, 71]", ["pot"]),
        ("pot [60, 71, 10, 20]", ["pot"]),  # corners the other way round
        ("pot [10,20,60,71], lid[1, 2, 3, 4]", ["pot", "lid"]),
        ("pot [10;20;60;71];lid[1, 2, 3, 4]", ["pot", "lid"]),
        ("[10, 20, 60, 71]", ["object"]),
        ("pot [10, 20, 60], lid [1, 2, 3, 4]", ["lid"]),
        ("pot [10, 20, 60, 71, 80], lid [1, 2, 3, 4]", ["lid"]),
        ("pot [a, b, c, d], lid [1, 2, 3, 4]", ["lid"]),
        ("pot [10, 20, 10, 20]", []),  # no area
        ("pot [300, 300, 400, 400]", []),  # outside
        ("pot [200, 200, 400, 400]", ["pot"]),
        ("pot [10.5, 20.5, 60, 71]", ["pot"]),
        ("pot [-10, -20, 60, 71]", ["pot"]),
        ("pot [10, 20, 60, 7", []),  # cut off
        ("pot, lid", []),
        ("pot ]]] [[[ [1, 2, 3, 4]", ["object"]),
        ("", []),
    ],
)
def test_boxes_that_can_be_read_are_read(words: str, names: list[str]) -> None:
    found = marks(f"a VISIBLE OBJECTS: {words} PLAN: b", "image", *WHOLE)
    assert [mark.name for mark in found] == names
    for mark in found:
        left, top, right, bottom = mark.at
        assert 0 <= left < right <= 256
        assert 0 <= top < bottom <= 256


@pytest.mark.parametrize(
    ("words", "points"),
    [
        ("[128, 64]", [(128, 64)]),
        ("[128, 64, 130]", [(128, 64)]),  # an odd one out
        ("[128, 64, 130, 66", [(128, 64), (130, 66)]),  # cut off
        ("[128, 64, 130,", [(128, 64)]),
        ("at [128, 64] or so [1, 2]", [(128, 64)]),
        ("[128, 64], [130, 66]", [(128, 64), (130, 66)]),  # a list for each point
        ("[[128,64];[130,66]]", [(128, 64), (130, 66)]),
        ("[300, 64]", []),
        ("128, 64", []),
        ("[]", []),
        ("[128]", []),
        ("[x, y]", []),
    ],
)
def test_points_that_can_be_read_are_read(words: str, points: list[tuple[int, int]]) -> None:
    found = marks(f"GRIPPER POSITION: {words}", "image", *WHOLE)
    assert [mark.at for mark in found] == points
    assert all(mark.kind == "point" for mark in found)


def test_a_tag_right_behind_a_word() -> None:
    rationale = parse("lift itPLAN: reach.SUBTASK REASONING: itSUBTASK:grasp", "")
    assert rationale is not None
    assert rationale.parts == {"task": "lift it", "plan": "reach.", "subtask reasoning": "it", "subtask": "grasp"}


def test_boxes_elsewhere_are_words() -> None:
    assert marks("pot [1, 2, 3, 4] PLAN: lid [1, 2, 3, 4]", "image", *WHOLE) == ()


@pytest.mark.parametrize(
    ("force", "text"),
    [
        ("pick it up", "pick it up ACTION:"),
        ("TASK: pick it up", "pick it up ACTION:"),
        ("a PLAN: b ACTION:", "a PLAN: b ACTION:"),
        ("", "ACTION:"),
        (Rationale({"task": "a", "plan": "b"}), "a PLAN: b ACTION:"),
        (Rationale({"plan": "b", "subtask reasoning": "c"}), "PLAN: b SUBTASK REASONING: c ACTION:"),
        (Rationale({"plan": "b", "task": "a"}), "PLAN: b TASK: a ACTION:"),
    ],
)
def test_forced_text_ends_where_the_action_begins(force: Rationale | str, text: str) -> None:
    assert forced_text(force) == text


def test_the_four_questions_of_checkpoints_tuned_here() -> None:
    said = Rationale({"observation": "a", "situation": "b", "spatial": "c", "planning": "d"})
    text = forced_text(said, TAGS)
    assert text == "OBSERVATION: a SITUATION ANALYSIS: b SPATIAL REASONING: c TASK PLANNING: d ACTION:"
    assert parse(text, "someone").parts == said.parts


def test_parts_that_it_does_not_have() -> None:
    with pytest.raises(UserError, match="no rationale part observation; it knows task, plan"):
        forced_text(Rationale({"observation": "x"}))
