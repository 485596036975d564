"""The what-if page: how its list of changes grows, its background questions, what it draws."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from analysis.evaluation.closed_loop import Rollout
from analysis.interventions.image_edits import HideBox, HideObject, HidePatches
from analysis.interventions.in_world import Consequence, Scenes, keep_consequence
from analysis.interventions.instruction_edits import BlankInstruction, NegatedInstruction
from app.figures_what_if import action_dumbbells, distributions
from app.library import Library
from app.run_records import Asked
from app.tasks import Task, TaskState, tasks_of
from app.views.what_if_attention import ends_of
from app.views.what_if_frames import shown_frames
from app.views.what_if_result import word_diff
from app.what_if import Place, Seen, change, led_to, look
from app.what_if_edits import added, after_click, hidden_patches, hiding, with_fill, with_instruction, without
from models.types import Part, PatchGrid, Span, TokenLayout
from tests.browser.world import checkpoint_named


def test_clicks_on_patches_hide_and_show_them() -> None:
    edits = after_click((), {"camera": "a", "patches": [3, 1], "on": True}, "blur")
    assert edits == (HidePatches("a", (1, 3), "blur"),)
    edits = after_click(edits, {"camera": "b", "patches": [0], "on": True}, "blur")
    edits = after_click(edits, {"camera": "a", "patches": [1], "on": False}, "blur")
    assert hidden_patches(edits, "a") == (3,) and hidden_patches(edits, "b") == (0,)
    assert after_click(edits, {"camera": "a", "patches": [3], "on": False}, "blur") == (HidePatches("b", (0,), "blur"),)


def test_objects_and_boxes() -> None:
    edits = after_click((), {"object": "carrot", "on": True}, "pink")
    assert edits == (HideObject("carrot", "mean"),)
    assert after_click(edits, {"object": "carrot", "on": False}, "mean") == ()
    boxes = [{"camera": "a", "box": [1, 2, 30, 40]}, {"camera": "b", "box": [5, 6, 7, 8]}]
    edits = after_click(edits, {"boxes": boxes, "on": True}, "black")
    assert edits[1:] == (HideBox("a", (1.0, 2.0, 30.0, 40.0), "black"), HideBox("b", (5.0, 6.0, 7.0, 8.0), "black"))
    assert after_click(edits, {"boxes": boxes[:1], "on": False}, "mean") == (edits[0], edits[2])
    assert {each.fill for each in with_fill(edits, "grey")} == {"grey"}


def test_a_patch_that_was_picked_in_the_player_is_hidden_whatever_its_tile() -> None:
    whole, left = PatchGrid("top", 2, 2, (0, 0, 40, 40)), PatchGrid("top", 2, 2, (0, 0, 20, 40))
    one = TokenLayout(("",) * 4, (Span(Part.IMAGE, "top", 0, 4, whole),))
    tiled = TokenLayout(("",) * 8, (Span(Part.IMAGE, "top", 0, 4, whole), Span(Part.IMAGE, "top", 4, 8, left)))
    assert hiding(one, "top", 3) == HidePatches("top", (3,))
    assert hiding(tiled, "top", 5) == HideBox("top", (10.0, 0.0, 20.0, 20.0))
    assert hiding(one, "top", 4) is None and hiding(one, "wrist", 0) is None


NONSENSE = [
    {},
    {"camera": 3, "patches": [1]},
    {"camera": "a", "patches": "x"},
    {"boxes": "x", "on": True},
    {"boxes": [3, {}, {"camera": "a", "box": [1]}, {"camera": 1, "box": [1, 2, 3, 4]}], "on": True},
]


@pytest.mark.parametrize("click", NONSENSE)
def test_a_click_that_makes_no_sense_changes_nothing(click: dict[str, object]) -> None:
    assert after_click((BlankInstruction(),), click, "mean") == (BlankInstruction(),)


def test_one_instruction_at_a_time_and_nothing_twice() -> None:
    edits = with_instruction((HideObject("a"), BlankInstruction()), NegatedInstruction())
    assert edits == (HideObject("a"), NegatedInstruction())
    assert with_instruction(edits, None) == (HideObject("a"),)
    assert added(edits, HideObject("a")) == edits
    assert without(edits, 0) == (NegatedInstruction(),)


def test_the_diff_of_words_is_escaped() -> None:
    said = word_diff("<b>left</b> of it", "<i>right</i> of it")
    assert said == "<del>&lt;b&gt;left&lt;/b&gt;</del> <ins>&lt;i&gt;right&lt;/i&gt;</ins> of it"


def ended(library: Library, task: Task) -> Task:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = tasks_of(library).find(task.id)
        assert found is not None
        if not found.state.busy:
            return found
        time.sleep(0.02)
    raise AssertionError("the task did not end")


@pytest.fixture(scope="module")
def place(library: Library, dataset: str) -> Place:
    digest = checkpoint_named(library.workspace.path, "tuned").digest
    return Place(library, Asked(dataset, "good", digest), 2)


@pytest.mark.slow
def test_a_question_is_answered_once_and_kept(place: Place) -> None:
    seen = ended(place.library, look(place)).result
    assert isinstance(seen, Seen) and not seen.why_not
    assert [thing.name for thing in seen.objects] == ["red block"]
    edits = (HideObject("red block", "black"),)
    task = ended(place.library, change(place, edits))
    assert task.state is TaskState.DONE, task.message
    effect = task.result
    assert effect.mean_bits > 0 and effect.edits == ("the red block replaced by black",)
    assert place.run(edits).steps_done() == {2} and place.run([]).steps_done() == {2}
    figure = action_dumbbells(effect, 0)
    assert len(figure.data) == len(effect.before.action_names) + 2
    odds = distributions(effect.divergences[0], "m")
    np.testing.assert_allclose(sum(odds.data[0].y), 1, atol=1e-6)


def test_a_change_that_the_step_does_not_allow_fails_in_a_sentence(place: Place) -> None:
    task = ended(place.library, change(place, (HideObject("dragon"),)))
    assert task.state is TaskState.FAILED and "there is no 'dragon' in view at step 2" in task.message


def test_what_came_of_acting_out_is_found_by_what_was_asked(place: Place) -> None:
    scenes, edits = Scenes("tabletop", "a task", (7, 8)), (HideObject("red block"),)
    rollouts = tuple(Rollout(seed, "a task", True, True, False, 3) for seed in scenes.seeds)
    found = Consequence(scenes, rollouts, rollouts, 4, 6, (("a", "b"), ("c", "d")))
    assert led_to(place, scenes, edits) is None
    keep_consequence(place.result(scenes, edits), found)
    assert led_to(place, scenes, edits) == found
    assert led_to(replace(place, step=4), scenes, edits) == found  # the changes are made at every step
    assert led_to(place, replace(scenes, seeds=(7,)), edits) is None
    assert led_to(place, scenes, (BlankInstruction(),)) is None


def test_frames_show_patches_objects_and_what_is_hidden(place: Place) -> None:
    seen = ended(place.library, look(place)).result
    (frame,) = shown_frames(place, seen, (HideObject("red block"), HidePatches("shoulder", (1,))))
    grid = seen.layout.spans[0].grid
    assert (frame.rows, frame.columns, frame.grid) == (grid.rows, grid.columns, grid.box)
    assert frame.patches == (1,) and frame.objects[0].hidden and frame.objects[0].name == "red block"
    (bare,) = shown_frames(place, None, ())
    assert bare.rows == 0 and bare.objects == ()


def test_a_route_ends_at_a_part_or_at_one_of_its_names(place: Place) -> None:
    layout = ended(place.library, look(place)).result.answer.layout
    assert "image" in ends_of(layout) and not any(end.startswith("image:") for end in ends_of(layout))
    spans = [
        Span(Part.IMAGE, "main", 0, 1),
        Span(Part.IMAGE, "wrist", 1, 2),
        Span(Part.RATIONALE, "observation", 2, 3),
        Span(Part.RATIONALE, "planning", 3, 4),
        Span(Part.ACTION, "x", 4, 5),
    ]
    ends = ends_of(TokenLayout(("",) * 5, tuple(spans)))
    assert ends["image:wrist"] == "image: wrist" and ends["rationale:planning"] == "rationale: Task planning"
    assert next(iter(ends)) == "action" and "action:x" not in ends
