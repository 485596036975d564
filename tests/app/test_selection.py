"""The side bar's choices as values."""

from __future__ import annotations

from dataclasses import replace

from analysis.types import EpisodeMeta
from app.selection import (
    Selection,
    camera_names,
    camera_text,
    checkpoint_label,
    checkpoint_line,
    chosen,
    episode_label,
    from_parameters,
)
from models.fake_chunk import SPEC as CHUNK
from models.types import ActionSpace, CheckpointSpec

META = EpisodeMeta("e1", "e1.hdf5", "put  the\nspoon away", 27, 5.0, ("shoulder",), True)
SPEC = CheckpointSpec(
    "p",
    "paligemma",
    "base",
    "abcdef0123456789",
    3_500_000,
    "F32",
    6,
    4,
    2,
    4,
    (8, 8),
    (128, 128),
    (),
    ActionSpace(("x", "y"), ("m", "m"), (-1, -1), (1, 1), bins=256),
    (),
)


def test_a_selection_survives_the_url() -> None:
    selection = Selection("set/one", "e 1", "abc", None)
    assert from_parameters(selection.parameters()) == selection
    assert selection.parameters() == {"dataset": "set/one", "episode": "e 1", "checkpoint": "abc"}


def test_empty_parameters_are_none() -> None:
    assert from_parameters({"episode": ""}) == Selection()


def test_chosen_falls_back_and_says_so() -> None:
    assert chosen("b", ["a", "b"]) == ("b", False)
    assert chosen("z", ["a", "b"]) == ("a", True)
    assert chosen(None, ["a", "b"], default=1) == ("b", False)
    assert chosen(None, ["a"], default=7) == ("a", False)
    assert chosen("z", []) == (None, True)
    assert chosen(None, ["a", "b"], default=None) == (None, False)
    assert chosen("b", ["a", "b"], default=None) == ("b", False)


def test_episode_label_holds_what_a_person_searches_by() -> None:
    assert episode_label(META) == "✓ put the spoon away · 27 steps · e1"
    assert episode_label(replace(META, success=False, instruction="")) == "✗ (no instruction) · 27 steps · e1"
    assert len(episode_label(replace(META, instruction="x" * 10_000))) < 110


def test_checkpoints_of_one_name_are_told_apart() -> None:
    assert checkpoint_label(SPEC, [SPEC]) == "base"
    assert checkpoint_label(SPEC, [SPEC, replace(SPEC, digest="123456")]) == "base · abcdef"


def test_checkpoint_line() -> None:
    assert (
        checkpoint_line(SPEC)
        == "3.5 M parameters · 6 layers × 4 heads · 8 × 8 patches · 2-D actions, 256 bins · actions only"
    )
    assert checkpoint_line(replace(SPEC, parameters=3_500_000_000)).startswith("3.50 B parameters")
    assert checkpoint_line(CHUNK) == (
        "0 parameters · 2 layers × 2 heads · 2 × 2 patches of each of 2 cameras · "
        "2-D actions × 4 steps, continuous · actions only"
    )
    assert SPEC.action_space is not None
    several = replace(SPEC, action_space=replace(SPEC.action_space, names=()))  # as many as the chosen statistics have
    assert checkpoint_line(several).endswith(" patches · actions, 256 bins · actions only")
    talks = replace(SPEC, action_space=None, patch_grid=(0, 0), generates_rationale=True)
    assert checkpoint_line(talks).endswith("patches depend on the image · describes, no actions")


def test_names_of_cameras_may_hold_any_sign() -> None:
    names = ("observation.images.top", "a,b", "50 %/é")
    assert camera_names(camera_text(names)) == names
    assert camera_names(None) is None
