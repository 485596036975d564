"""Teaching SpatialVLA, OpenVLA and ECoT: what they learn from is what they read and write, and opens as what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.refine.batches import Collator
from models.refine.checkpoint_writer import write_checkpoint
from models.refine.data_statistics import DataStatistics
from models.refine.demonstrations import Demonstration
from models.refine.learner import Learner, Taught, open_learner
from models.refine.settings import Mode, Order, TuneSettings
from models.refine.soft_labels import ActionIds, SoftLabels
from models.refine.tune import Tuned, tune
from models.types import Observation, Prediction, Rationale
from tests.tiny_openvla import EMPTY, write_ecot, write_openvla
from tests.tiny_spatialvla import write_tiny_spatialvla

FRAME = np.random.default_rng(4).integers(0, 255, (48, 64, 3), dtype=np.uint8)
SEEN = Observation({"image": FRAME}, "put the carrot on the plate")
CHUNK = np.array([[0.01, -0.02, 0.0, 0.03, 0, 0.1, 1], [0.02, 0.01, 0.0, -0.05, 0.02, -0.1, 0]])
SETTINGS = TuneSettings(steps=25, batch=1, learning_rate=1e-2, warm_up=1, frozen_layers=1, save_every=25, log_every=5)
spatial = partial(write_tiny_spatialvla, depth=False, max_position_embeddings=96)
small_openvla = partial(write_openvla, width=32, layers=2)


@dataclass(frozen=True)
class Case:
    """A base, how it is taught, and as what it opens afterwards."""

    family: str
    write: Callable[[Path], Path]
    order: Order
    said: Rationale
    actions: np.ndarray
    becomes: str

    def shown(self) -> Demonstration:
        return Demonstration(SEEN, self.actions, self.said)

    def draw(self, number: int) -> Demonstration:
        return self.shown()

    def learner(self, folder: Path, **given: object) -> Learner:
        learner = open_learner(CheckpointFiles.open(folder), self.family, self.order, **given)
        return learner if self.order is Order.ACT_ONLY else learner.allowing(len(learner.words(self.said, self.order)))


FOUR = Rationale({"observation": "the carrot .", "planning": "move : up"})
TAGGED = Rationale({"task": "put carrot", "plan": "move up"})
SPATIAL = {
    "spatialvla, acts first": Case("spatialvla", spatial, Order.ACT_FIRST, FOUR, CHUNK, "refinevla"),
    "spatialvla, reasons first": Case("spatialvla", spatial, Order.REASON_FIRST, FOUR, CHUNK, "refinevla"),
    "refinevla, acts only": Case("refinevla", spatial, Order.ACT_ONLY, FOUR, CHUNK, "spatialvla"),
}
OPEN = {
    "openvla, reasons first": Case("openvla", small_openvla, Order.REASON_FIRST, TAGGED, CHUNK[:1], "ecot"),
    "openvla, acts only": Case("openvla", small_openvla, Order.ACT_ONLY, TAGGED, CHUNK[:1], "openvla"),
    "ecot, acts only": Case("ecot", small_openvla, Order.ACT_ONLY, TAGGED, CHUNK[:1], "ecot"),
}
CASES = SPATIAL | OPEN


def run(case: Case, base: Path, out: Path, settings: TuneSettings = SETTINGS, stop_at: int | None = None) -> Tuned:
    def progress(done: int, _: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    settings = replace(settings, order=case.order)
    return tune(case.learner(base), case, settings, out, {"data": "made"}, "my policy", "float32", progress)


def scored(learner: Learner, taught: Taught, order: Order) -> tuple[list[int], np.ndarray]:
    """The answer's ids and their log-probabilities in the forward that training does, beside a longer sample."""
    longer = replace(taught, example=replace(taught.example, prompt=[*taught.example.prompt, *[5] * 9]))
    batch = Collator(learner, TuneSettings(order=order))([(0, taught), (1, longer)])
    targets, counts = batch.pop("targets"), batch.pop("is_action") | batch.pop("is_reasoning")
    with torch.no_grad():
        logits = learner.model.train()(**batch, use_cache=False, logits_to_keep=targets.shape[1]).logits
    logs = torch.log_softmax(logits[0], -1)[counts[0]]
    wanted = targets[0][counts[0]]
    return wanted.tolist(), logs.gather(-1, wanted[:, None])[:, 0].numpy()


def agree(learner: Learner, order: Order, prediction: Prediction, prompt: tuple[int, ...], end: list[int]) -> None:
    """What the policy said, taught to it: the same ids, as likely as when it said them."""
    taught = learner.taught(Demonstration(SEEN, prediction.actions, prediction.rationale), order)
    assert tuple(taught.example.prompt) == prompt
    ids, logs = scored(learner, taught, order)
    assert ids == [*prediction.tokens.tolist(), *end]
    np.testing.assert_allclose(logs[: len(prediction.tokens)], prediction.token_logprobs, atol=1e-4)


@pytest.mark.parametrize("depth", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", [Order.REASON_FIRST, Order.ACT_FIRST])
def test_spatialvla_is_taught_what_it_reads_and_writes(tmp_path: Path, order: Order, depth: bool) -> None:
    base = spatial(tmp_path / "base", depth=depth, rationale={"order": str(order), "max_tokens": 24})
    policy = models.load(base)
    assert policy.info.family == "refinevla"
    prediction = policy.predict(SEEN, force=FOUR)
    learner = open_learner(CheckpointFiles.open(base), "refinevla", order)
    prompt, end = policy._reader(SEEN).prompt.ids, [1]
    if order is Order.REASON_FIRST:  # after words every token is of its own range, and its value leads back to it
        agree(learner, order, prediction, prompt, end)
        return
    taught = learner.taught(Demonstration(SEEN, prediction.actions, FOUR), order)
    taught = replace(taught, example=replace(taught.example, action=prediction.tokens[:6].tolist()))
    ids, logs = scored(learner, taught, order)
    assert (tuple(taught.example.prompt), ids) == (prompt, prediction.tokens.tolist())
    np.testing.assert_allclose(logs, prediction.token_logprobs, atol=1e-4)


@pytest.mark.parametrize("strategy", ["resize-naive", "letterbox"])
def test_openvla_is_taught_what_it_reads_and_writes(tmp_path: Path, strategy: str) -> None:
    base = small_openvla(tmp_path / "base", strategy=strategy)
    policy = models.load(base)
    learner = open_learner(CheckpointFiles.open(base), "openvla", Order.ACT_ONLY)
    (bos, *words), patches = policy._reader.question(SEEN).prompt.ids, 25
    assert words[-1] == EMPTY
    agree(learner, Order.ACT_ONLY, policy.predict(SEEN), (bos, *[bos] * patches, *words), [2])


def test_ecot_is_taught_what_it_reads_and_writes(tmp_path: Path) -> None:
    base = write_ecot(tmp_path / "base")
    policy = models.load(base, family="ecot")
    prediction = policy.predict(SEEN)
    assert prediction.tokens[-1] == 2
    learner = open_learner(CheckpointFiles.open(base), "ecot", Order.REASON_FIRST)
    bos, *words = policy._reader.question(SEEN).prompt.ids
    agree(learner, Order.REASON_FIRST, prediction, (bos, *[bos] * 25, *words), [])


@pytest.mark.parametrize(
    "name",
    [name if name == "spatialvla, acts first" else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_one_demonstration_is_learned_by_heart(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    base = case.write(tmp_path / "base")
    settings = replace(SETTINGS, learning_rate=2e-2) if name in OPEN else SETTINGS
    policy = models.load(run(case, base, tmp_path / "out", settings).path)
    assert (policy.info.family, policy.info.name) == (case.becomes, "my policy")
    prediction = policy.predict(SEEN)
    answer, _ = case.learner(base).taught(case.shown(), case.order).example.answer(case.order)
    assert prediction.tokens.tolist() in (answer, answer[:-1])  # who acts last need not write that it ended
    assert np.abs(prediction.actions - case.actions).max() < 1
    said = prediction.rationale
    assert (dict(said.parts) if said else None) == (None if case.order is Order.ACT_ONLY else dict(case.said.parts))


def test_the_tuned_folder_holds_what_the_base_holds(tmp_path: Path) -> None:
    """Names, shards and what the model has no use for; only what trained is another."""
    bases = {
        "spatialvla": spatial(tmp_path / "spatial", depth=True, shard=True),
        "openvla": small_openvla(tmp_path / "openvla", towers=("dinov2 reg4 gamma", "siglip"), shards=2),
    }
    for family, base in bases.items():
        (base / "modeling.py").write_text("raise SystemExit\n")
        learner, out = open_learner(CheckpointFiles.open(base), family, Order.ACT_ONLY), tmp_path / f"{family} tuned"
        with torch.no_grad():
            learner.parts.norm.weight += 1
        write_checkpoint(out, learner, learner.model, SETTINGS, {}, "mine", "float32")
        files = sorted(file.name for file in base.iterdir())
        assert files == sorted(file.name for file in out.iterdir() if file.name != "provenance.json")
        for shard in base.glob("*.safetensors"):
            before, after = load_file(shard), load_file(out / shard.name)
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            assert before.keys() == after.keys()
            # published files hold stale rows for action tokens, which spatial_embed_tokens replaces
            assert changed <= {"language_model.model.norm.weight", "language_model.model.embed_tokens.weight"}
        before, after = (json.loads((place / "config.json").read_text()) for place in (base, out))
        assert after["tuned_with"]["steps"] == SETTINGS.steps
        for config in (before, after):
            config["text_config"].pop("tie_word_embeddings", None)
        assert {key: after[key] for key in before} == before
        assert models.inspect(out).family == family


def test_own_statistics_go_where_the_family_keeps_them(tmp_path: Path) -> None:
    actions = np.random.default_rng(1).uniform(-1, 1, (200, 7))
    actions[:, 6] = np.arange(200) % 2
    own = DataStatistics.of("mine", [actions])
    for family, base in (
        ("spatialvla", spatial(tmp_path / "a", depth=True)),
        ("openvla", small_openvla(tmp_path / "b")),
    ):
        learner, out = open_learner(CheckpointFiles.open(base), family, Order.ACT_ONLY, own=own), tmp_path / f"{family}"
        write_checkpoint(out, learner, learner.model, SETTINGS, {}, "mine", "float32")
        space = models.load(out, action_stats="mine").info.action_space
        assert (space.low[6], space.high[6]) == pytest.approx((0, 1), abs=0.01)
        assert space.high[0] <= own.q99[0]
    processor = json.loads((tmp_path / "spatialvla" / "processor_config.json").read_text())
    assert processor["statistics"]["mine"]["action"]["mask"] == [True] * 6 + [False]
    assert processor["intrinsic_config"]["mine"] == processor["intrinsic_config"]["default"]
    for name, kept in (("config.json", lambda stored: stored["norm_stats"]), ("dataset_statistics.json", dict)):
        stored = kept(json.loads((tmp_path / "openvla" / name).read_text()))
        assert stored["mine"]["num_transitions"] == 200


def test_a_gripper_that_is_not_between_0_and_1_is_scaled_to_its_two_tokens(tmp_path: Path) -> None:
    actions = np.zeros((4, 7))
    actions[:, 6] = (-1, 1, 1, -1)
    base, own = spatial(tmp_path / "base"), DataStatistics.of("mine", [actions])
    learner = open_learner(CheckpointFiles.open(base), "spatialvla", Order.ACT_ONLY, own=own)
    grid = learner.reader.settings.grid
    moves = learner.taught(Demonstration(SEEN, actions[:2], None), Order.ACT_ONLY).example.action[:-1]
    assert learner.scale.to_robot(grid.normalised(moves))[:, 6].tolist() == [-1, 1]


@pytest.mark.parametrize("name", ["spatialvla, acts first", "openvla, reasons first"])
@pytest.mark.parametrize("mode", [Mode.SELECTIVE, Mode.FULL, Mode.LORA])
@pytest.mark.slow
def test_what_is_frozen_stays_and_what_trains_moves(tmp_path: Path, name: str, mode: Mode) -> None:
    case = replace(CASES[name], write=partial(CASES[name].write, **({"depth": True} if name in SPATIAL else {})))
    base = case.write(tmp_path / "base")
    settings = replace(
        SETTINGS, steps=2, mode=mode, frozen_layers=0 if mode is Mode.FULL else 1, train_vision=mode is Mode.SELECTIVE,
        soft_bins=1.0, noisy_actions=0.5, lora_rank=2,
    )  # fmt: skip
    done = run(case, base, tmp_path / "out", settings)
    before, after = load_file(base / "model.safetensors"), load_file(done.path / "model.safetensors")
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert not any("zoe" in key for key in moved)
    assert any("layers.1." in key and "language_model" in key for key in moved)
    assert any("language_model.model.layers.0." in key for key in moved) is (mode is Mode.FULL)
    assert any("vision_tower" in key or "vision_backbone" in key for key in moved) is (mode is not Mode.LORA)
    assert any("position_embedding_3d" in key for key in moved) is (mode is not Mode.LORA and name in SPATIAL)
    merged = models.load(done.path).predict(SEEN)
    if mode is Mode.LORA:
        alone = models.load(done.path / "adapter", base=base, family=case.family).embed(SEEN)
        assert torch.allclose(alone, models.load(base, family=case.family).embed(SEEN))
    assert np.isfinite(merged.token_logprobs).all()


@pytest.mark.parametrize("name", ["spatialvla, reasons first", "openvla, reasons first"])
@pytest.mark.slow
def test_a_stopped_run_ends_in_the_same_weights(tmp_path: Path, name: str) -> None:
    case, settings = CASES[name], replace(SETTINGS, steps=6, save_every=2, log_every=1, batch=2, precision="bfloat16")
    base = case.write(tmp_path / "base")
    whole = run(case, base, tmp_path / "whole", settings)
    with pytest.raises(KeyboardInterrupt):
        run(case, base, tmp_path / "cut", settings, stop_at=5)
    again = run(case, base, tmp_path / "cut", settings)
    assert again.resumed == 4
    one, other = (load_file(done.path / "model.safetensors") for done in (whole, again))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_head_that_was_the_embeddings_gets_weights_of_its_own(tmp_path: Path) -> None:
    case = replace(CASES["spatialvla, acts first"], write=partial(spatial, tied=True))
    done = run(case, case.write(tmp_path / "base"), tmp_path / "out", replace(SETTINGS, steps=2))
    stored = load_file(done.path / "model.safetensors")
    assert not torch.equal(stored["language_model.lm_head.weight"], stored["language_model.model.embed_tokens.weight"])
    policy = models.load(done.path)
    assert torch.equal(policy.model.language_model.lm_head.weight, stored["language_model.lm_head.weight"])


def test_soft_labels_spread_over_neighbours_in_the_grid() -> None:
    soft = SoftLabels([ActionIds(range(2, 14), (3, 4)), ActionIds(range(14, 16), ())], 0.5)
    row, gripper, word = soft(torch.tensor([2 + 1 * 4 + 2, 15, 0]), 16)
    around = row[2:14].reshape(3, 4)
    assert float(row.sum()) == pytest.approx(1)
    assert around.argmax() == 6
    assert float(around[0, 2]) == pytest.approx(float(around[2, 2]))
    assert float(around[0, 2]) == pytest.approx(float(around[1, 1]), rel=0.1)
    assert gripper.nonzero().tolist() == [[15]]
    assert word.nonzero().tolist() == [[0]]


def taught(case: Case, folder: Path, **changes: object) -> None:
    learner = open_learner(CheckpointFiles.open(case.write(folder)), case.family, case.order)
    learner.check(replace(case.shown(), **changes), case.order)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("spatialvla, acts first", {"actions": CHUNK[:1]}, r"predicts 2 x 7 values, the data have \(1, 7\)"),
        ("spatialvla, acts first", {"actions": CHUNK * np.nan}, "not finite"),
        ("spatialvla, acts first", {"rationale": TAGGED}, "no rationale part task, plan; it knows observation"),
        ("spatialvla, acts first", {"rationale": Rationale({"text": "up <eos>"})}, "contains '<eos>', a control"),
        ("spatialvla, acts first", {}, "has 96; use shorter"),
        ("spatialvla, acts first", {"observation": replace(SEEN, images={})}, "has none; choose one camera"),
        ("openvla, reasons first", {"actions": CHUNK}, r"predicts 1 x 7 values, the data have \(2, 7\)"),
        ("openvla, reasons first", {"rationale": Rationale({"mood": "good"})}, "no rationale part mood"),
        ("openvla, reasons first", {"rationale": Rationale({"task": "up " * 1001})}, "has 100. tokens, the policy may"),
    ],
)
def test_a_demonstration_that_cannot_be_learned(tmp_path: Path, name: str, changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        taught(CASES[name], tmp_path / "base", **changes)


def test_words_that_come_first_are_not_read_as_actions(tmp_path: Path) -> None:
    base = spatial(tmp_path / "base", rationale={"order": "rationale first", "max_tokens": 8})
    assert models.alternatives(base) == ("refinevla", "spatialvla")
    with pytest.raises(UserError, match=r"before its actions, as config.json says.*open it as 'refinevla'"):
        models.load(base, family="spatialvla")
    with pytest.raises(UserError, match=r"rationale.order is 'last'"):
        models.load(spatial(tmp_path / "other", rationale={"order": "last", "max_tokens": 8}))
