"""The PaliGemma family beyond the contract: prompt, parts, limits, gradients."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models.errors import UserError
from models.policy import Differentiable, Policy
from models.types import Capture, Observation, Part, Rationale
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_action_token_paligemma(tmp_path_factory.mktemp("paligemma") / "tuned", rationale=True, chunk=2)


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return models.load(folder)


def test_spec(policy: Policy) -> None:
    spec = policy.info
    assert (spec.name, spec.family, spec.layers, spec.heads) == ("tuned", "paligemma", 3, 4)
    assert (spec.vision_layers, spec.patch_grid, spec.image_size, spec.dtype) == (2, (8, 8), (128, 128), "float32")
    assert spec.generates_rationale
    assert spec.action_stats == ("vla_lens_tabletop",)
    assert spec.notes == {"fps": "5"}


def test_prompt_layout(policy: Policy) -> None:
    seen = replace(observation(), instruction="Put the CARROT down quickly")
    layout = policy.layout(seen)
    parts = [(span.part, span.name) for span in layout.spans]
    states = [(Part.STATE, name) for name in policy.info.state_names]
    assert parts == [(Part.IMAGE, "image"), (Part.SPECIAL, "bos"), (Part.INSTRUCTION, "instruction"), *states]
    assert layout.tokens[0] == "image 0,0"
    assert layout.tokens[65:70] == ("put", "the", "carrot", "down", "quickly (unknown)")
    grid = layout.spans[0].grid
    assert grid is not None
    assert grid.box == (0.0, 0.0, 128.0, 96.0), "patches lie on the original frame, which is not square"


def test_an_empty_instruction_has_no_span(policy: Policy) -> None:
    layout = policy.layout(replace(observation(), instruction="  "))
    assert layout.positions(Part.INSTRUCTION).size == 0


def test_words_around_the_instruction_are_prompt(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    config["vla"]["prompt"] = "now {state} then {instruction} now"
    (copy / "config.json").write_text(json.dumps(config))
    layout = models.load(copy).layout(observation(instruction="move up"))
    after_bos = [
        (span.part, layout.tokens[span.start : span.stop]) for span in layout.spans[2:] if span.name != "state"
    ]
    assert after_bos[0] == (Part.PROMPT, ("now",))
    assert after_bos[-3:] == [
        (Part.PROMPT, ("then",)),
        (Part.INSTRUCTION, ("move", "up")),
        (Part.PROMPT, ("now",)),
    ]


def test_forced_parts_are_named(policy: Policy) -> None:
    said = Rationale({"observation": "The carrot", "planning": "move up"})
    prediction = policy.predict(observation(), Capture(), force=said)
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    generated = [(span.part, span.name) for span in prediction.layout.spans if span.start >= prompt]
    assert generated[:5] == [
        (Part.SPECIAL, "<obs>"),
        (Part.RATIONALE, "observation"),
        (Part.SPECIAL, "<plan>"),
        (Part.RATIONALE, "planning"),
        (Part.SPECIAL, "<act>"),
    ]
    assert prediction.text == "<obs> the carrot <plan> move up"
    assert prediction.rationale is not None
    assert prediction.rationale.parts == {"observation": "the carrot", "planning": "move up"}
    assert prediction.rationale.author == policy.info.digest
    assert prediction.actions.shape == (2, 7)
    assert [each.step for each in prediction.action_distribution] == [0] * 7 + [1] * 7


def test_forcing_nothing_is_no_rationale(policy: Policy) -> None:
    prediction = policy.predict(observation(), force="")
    assert prediction.rationale is None
    assert prediction.token_texts[0] == "<act>"


def test_the_forced_rationale_moves_the_action(policy: Policy) -> None:
    one, other = (policy.predict(observation(), force=f"<plan> move {way}") for way in ("up", "down"))
    assert not np.array_equal(one.action_distribution[0].probabilities, other.action_distribution[0].probabilities)


def test_text_is_capped_and_begin_forced(policy: Policy) -> None:
    prediction = policy.predict(observation())
    assert list(prediction.token_texts).index("<act>") <= 12


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (replace(observation(), state=None), "observation has no state"),
        (replace(observation(), state=np.zeros(3, np.float32)), r"reads 7 state values .* shape \(3,\)"),
        (replace(observation(), images={}), r"has 0 \(none\)"),
        (replace(observation(), images=dict.fromkeys(("a", "b"), np.zeros((2, 2, 3), np.uint8))), r"has 2 \(a, b\)"),
        (replace(observation(), instruction="up " * 513), "instruction has 513 tokens; at most 512"),
        (replace(observation(), instruction="x" * 10_000), "instruction has 10000 characters; at most 4000"),
        (replace(observation(), instruction="up " * 450), r"prompt has 522 tokens .* 512 positions"),
        (replace(observation(), instruction="put <a003> down"), "contains '<a003>', which is a control token"),
        (replace(observation(), instruction="put <image> down"), "contains '<image>', which is a control token"),
    ],
)
def test_refuses_what_it_cannot_read(policy: Policy, seen: Observation, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        policy.predict(seen)


def test_html_is_words_like_any_other(policy: Policy) -> None:
    layout = policy.layout(observation(instruction="<b>put</b> <script>alert(1)</script>"))
    assert layout.tokens[65] == "<b>put</b> (unknown)"


@pytest.mark.parametrize("force", ["<act> up", "up <eos>", Rationale({"mood": "fine"}), "up " * 500])
def test_refuses_a_rationale(policy: Policy, force: Rationale | str) -> None:
    with pytest.raises(UserError, match=r"control token|no rationale part|positions"):
        policy.predict(observation(), force=force)


@pytest.mark.slow
def test_hub_spelling_of_names_gives_the_same_policy(folder: Path, policy: Policy, tmp_path: Path) -> None:
    hub = Path(shutil.copytree(folder, tmp_path / "hub"))
    tensors = load_file(hub / "model.safetensors")
    renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): each for name, each in tensors.items()}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, hub / "model.safetensors", metadata={"format": "pt"})
    ours, theirs = (each.predict(observation(), Capture(vision=True)) for each in (policy, models.load(hub)))
    np.testing.assert_allclose(ours.token_logprobs, theirs.token_logprobs, atol=1e-5)
    assert theirs.attention[1].weights.shape == ours.attention[1].weights.shape


def test_teacher_forcing_gives_the_same_log_probabilities(policy: Policy) -> None:
    """One pass over prompt and answer needs the prefix mask made explicitly, or tokens see their own future."""
    assert isinstance(policy, Differentiable)
    prediction = policy.predict(observation())
    with torch.no_grad():
        found = policy.log_probabilities(policy.embed(observation()), prediction.tokens.tolist())
    taken = found[torch.arange(len(prediction.tokens)), torch.from_numpy(prediction.tokens)]
    np.testing.assert_allclose(taken.numpy(), prediction.token_logprobs, atol=1e-4)


def test_gradients_reach_image_and_words(policy: Policy) -> None:
    assert isinstance(policy, Differentiable)
    prediction = policy.predict(observation())
    embedded = policy.embed(observation()).detach().requires_grad_()
    policy.log_probabilities(embedded, prediction.tokens.tolist())[-1].max().backward()
    assert embedded.grad is not None
    strength = embedded.grad[0].norm(dim=-1)
    assert strength.shape == (len(policy.layout(observation()).tokens),)
    assert (strength > 0).all()
