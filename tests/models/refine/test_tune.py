"""Runs of the training loop on a tiny checkpoint: what is written, that it resumes exactly, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.refine.curves import read_curves
from models.refine.demonstrations import Demonstration
from models.refine.paligemma_learner import PaliGemmaLearner
from models.refine.settings import Mode, Order, TuneSettings
from models.refine.tune import Tuned, tune
from models.types import Observation, Rationale

pytestmark = pytest.mark.slow  # together more than make check has time for

SETTINGS = TuneSettings(
    steps=6, batch=4, learning_rate=1e-2, warm_up=1, frozen_layers=1, save_every=2, log_every=1, soft_bins=1.0,
    noisy_actions=0.2, seed=3,
)  # fmt: skip
SAID = Rationale({"observation": "i see a carrot", "planning": "move left then grasp"})


class Made:
    """Frames of noise, actions by number."""

    def draw(self, number: int) -> Demonstration:
        rng = np.random.default_rng(number)
        frame = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        state = np.array([0.3, 0.0, 0.1, 0, 0, 0, 0.05])
        action = np.array([[0.01, -0.01, 0.02, 0, 0, 0.1, number % 2]])
        return Demonstration(Observation({"front": frame}, "put carrot on plate", state), action, SAID)


def run(base: Path, out: Path, settings: TuneSettings = SETTINGS, stop_at: int | None = None) -> Tuned:
    def progress(done: int, _: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    learner = PaliGemmaLearner.open(CheckpointFiles.open(base), settings.order, max_tokens=24)
    return tune(learner, Made(), settings, out, {"data": "made"}, "tiny tuned", "float32", progress)


@pytest.fixture(scope="module")
def tuned(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return run(tiny_base, tmp_path_factory.mktemp("tune") / "out")


def test_the_result_is_a_checkpoint_that_says_why(tuned: Tuned) -> None:
    policy = models.load(tuned.path)
    assert (policy.info.name, policy.info.generates_rationale) == ("tiny tuned", True)
    shown = Made().draw(0).observation
    assert policy.predict(shown).actions.shape == (1, 7)
    forced = policy.predict(shown, force=SAID)
    assert dict(forced.rationale.parts) == dict(SAID.parts)


def test_both_parts_of_the_loss_are_logged_apart_and_fall(tuned: Tuned) -> None:
    curves = read_curves(tuned.path / "training" / "curves.jsonl")
    assert [line["step"] for line in curves] == [1, 2, 3, 4, 5, 6]
    assert [line["samples"] for line in curves] == [4, 8, 12, 16, 20, 24]
    for line in curves:
        assert line["loss"] == pytest.approx(line["action_loss"] + 0.3 * line["reasoning_loss"], rel=1e-5)
    assert curves[-1]["reasoning_loss"] < 0.8 * curves[0]["reasoning_loss"]


def test_what_is_frozen_stays_as_it_was_and_the_rest_moves(tuned: Tuned, tiny_base: Path) -> None:
    before, after = load_file(tiny_base / "model.safetensors"), load_file(tuned.path / "model.safetensors")
    moved = {name for name in before if name in after and not torch.equal(before[name].float(), after[name])}
    layers = {name for name in moved if "language_model" in name and "layers." in name}
    assert layers
    assert all("layers.0." not in name for name in layers)
    assert not any("vision_tower" in name or "embed_tokens" in name or "projector" in name for name in moved)
    told = json.loads((tuned.path / "provenance.json").read_text())
    assert told["settings"]["frozen_layers"] == 1
    assert told["data"] == "made"


def test_a_stopped_run_ends_in_the_same_weights(tuned: Tuned, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tiny_base, tmp_path / "out", stop_at=5)
    (tmp_path / "out" / "training" / "state" / "checkpoint-99").mkdir()  # what a kill in the middle of saving leaves
    again = run(tiny_base, tmp_path / "out")
    assert again.resumed == 4
    one, other = load_file(tuned.path / "model.safetensors"), load_file(again.path / "model.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = [read_curves(each.path / "training" / "curves.jsonl") for each in (again, tuned)]
    for key in ("loss", "action_loss", "reasoning_loss"):
        assert [line[key] for line in curves[0]] == [line[key] for line in curves[1]]


def test_accumulated_forwards_give_the_same_step(tuned: Tuned, tiny_base: Path, tmp_path: Path) -> None:
    apart = run(tiny_base, tmp_path / "out", replace(SETTINGS, accumulate=2, steps=6))
    curves = [read_curves(each.path / "training" / "curves.jsonl") for each in (tuned, apart)]
    for one, other in zip(*curves, strict=True):
        assert other["action_loss"] == pytest.approx(one["action_loss"], rel=1e-4)
        assert other["reasoning_loss"] == pytest.approx(one["reasoning_loss"], rel=1e-4)


def test_low_rank_changes_are_merged_and_kept_apart(tiny_tuned: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.symlink_to(tiny_tuned)
    low_rank = run(base, tmp_path / "out", replace(SETTINGS, mode=Mode.LORA, lora_rank=2, steps=3))
    merged, adapter = models.load(low_rank.path), models.load(low_rank.path / "adapter", base=base)
    shown = Made().draw(1).observation
    one, other = (policy.predict(shown, force=SAID) for policy in (merged, adapter))
    assert np.allclose(one.token_logprobs, other.token_logprobs, atol=1e-4)
    plain = models.load(base).predict(shown, force=SAID)
    assert not np.allclose(one.token_logprobs, plain.token_logprobs, atol=1e-4)


@pytest.mark.parametrize("order", [Order.ACT_FIRST, Order.ACT_ONLY])
def test_the_order_is_kept_by_the_policy(tiny_base: Path, tmp_path: Path, order: Order) -> None:
    done = run(tiny_base, tmp_path / "out", replace(SETTINGS, order=order, steps=2))
    policy = models.load(done.path)
    assert policy.info.generates_rationale is (order is Order.ACT_FIRST)
    kinds = [span.part.value for span in policy.predict(Made().draw(0).observation).layout.spans]
    if order is Order.ACT_FIRST:
        assert kinds.index("action") < kinds.index("rationale")


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.SELECTIVE])
def test_embeddings_and_vision_train_where_asked(tiny_base: Path, tmp_path: Path, mode: Mode) -> None:
    settings = replace(SETTINGS, mode=mode, frozen_layers=0, train_vision=True, train_embeddings=True, steps=2)
    after = load_file(run(tiny_base, tmp_path / "out", settings).path / "model.safetensors")
    before = load_file(tiny_base / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert any("vision_tower" in name for name in moved)
    assert any("embed_tokens" in name for name in moved)
    models.load(tmp_path / "out")


def test_another_run_in_the_folder_is_refused(tuned: Tuned, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="finished already"):
        run(tiny_base, tuned.path)
    with pytest.raises(UserError, match="other settings or data"):
        run(tiny_base, tuned.path, replace(SETTINGS, seed=4))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        run(tiny_base, tmp_path)
    with pytest.raises(UserError, match="9 decoder layers are to be frozen; this model has 3"):
        run(tiny_base, tmp_path / "out", replace(SETTINGS, frozen_layers=9))


def test_nothing_is_made_of_what_cannot_run(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="all 3 are to be frozen; freeze fewer"):
        run(tiny_base, tmp_path / "out", replace(SETTINGS, mode=Mode.LORA, frozen_layers=3))
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="cannot be spread evenly over 3 processes"):
        run(tiny_base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reasoning_weight": -0.1}, "lambda"),
        ({"reasoning_weight": float("nan")}, "lambda"),
        ({"frozen_layers": -1}, "must be 0 or more"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 3, "accumulate": 2}, "cannot be cut"),
        ({"noisy_actions": 2.0}, "is a share"),
        ({"precision": "int8"}, "use float32 or bfloat16"),
        ({"mode": Mode.FULL, "frozen_layers": 1}, "freezes nothing"),
        ({"mode": Mode.LORA, "train_vision": True}, "LoRA changes decoder layers alone"),
        ({"mode": Mode.LORA, "train_embeddings": True}, "LoRA changes decoder layers alone"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; it must be above 0 and finite"),
        ({"weight_decay": float("inf")}, "must be 0 or more and finite"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SETTINGS, **wrong)


def test_settings_survive_json() -> None:
    assert TuneSettings.from_json(json.loads(json.dumps(SETTINGS.as_json()))) == SETTINGS
    with pytest.raises(UserError, match="unknown field 'lr'"):
        TuneSettings.from_json({"lr": 1})
    with pytest.raises(UserError, match="order is 'backwards'; use one of 'rationale first'"):
        TuneSettings.from_json({"order": "backwards"})
