"""What was recognised, in words."""

from __future__ import annotations

from dataclasses import replace

from analysis.checkpoint_facts import checkpoint_facts, size
from models.fake_chunk import SPEC as CHUNK
from models.fakes import SPEC


def said(spec) -> dict[str, str]:
    return {fact.label: fact.text for fact in checkpoint_facts(spec)}


def test_a_policy_with_bins():
    found = said(SPEC)
    assert found["Actions"] == "brightness (one step at a time, 3 bins)"
    assert found["Cameras"] == "one, under any name"
    assert found["Image"] == "2 × 2 patches, the image seen at 2 × 2 px"
    assert found["Rationale"] == "writes one"
    assert not {"Action expert", "Denoising steps", "Vision tower", "State"} & found.keys()


def test_a_policy_with_an_action_expert():
    found = said(CHUNK)
    assert found["Actions"] == "reach, grip (4 steps at once, continuous)"
    assert (found["Cameras"], found["Denoising steps"]) == ("front, wrist", "3")
    assert found["Action expert"] == "2 layers × 2 heads"


def test_a_model_without_actions_whose_patches_depend_on_the_image():
    found = said(replace(SPEC, action_space=None, patch_grid=(0, 0), image_size=(0, 0), notes={"fps": "5"}))
    assert found["Actions"] == "none: it describes what it sees"
    assert (found["Image"], found["Fps"]) == ("patches depend on the image", "5")


def test_sizes():
    assert size(replace(SPEC, parameters=7_500_000_000, dtype="bfloat16")) == "7.50 B parameters, 15.0 GB, bfloat16"
    assert size(replace(SPEC, parameters=3_500_000)) == "3.5 M parameters, 14.0 MB, float32"
    assert size(replace(SPEC, parameters=900, dtype="I4")) == "900 parameters, I4"
