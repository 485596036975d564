"""SpatialVLA against what its own published code gave, and captured rows against plain eager attention."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import DynamicCache, Gemma2Config, Gemma2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

import models
from models.config_section import ConfigSection
from models.policy import Differentiable, Policy
from models.types import Capture, Observation, Part, Prediction
from tests.contracts.policy_cases import CASES, observation

EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)
SPATIAL = [case for case, (family, _) in CASES.items() if family in ("spatialvla", "refinevla")]


@pytest.fixture(scope="module")
def published(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A checkpoint that the published code wrote, and its answers."""
    folder, out = shared_data / "checkpoints", tmp_path_factory.mktemp("published")
    subprocess.run([sys.executable, folder / "materialize.py", folder / "spatialvla-tiny", out], check=True)
    with np.load(folder / "reference" / "spatialvla-tiny.npz") as reference:
        return out / "spatialvla-tiny", dict(reference)


@pytest.fixture(scope="module")
def asked(shared_data: Path, published: tuple[Path, dict[str, np.ndarray]]) -> Observation:
    frame = np.asarray(Image.open(shared_data / "images" / "widowx_256.png").convert("RGB"))
    prompt = str(published[1]["prompt"])
    words = prompt.removeprefix("What action should the robot take to ").removesuffix("?")
    assert words != prompt
    return Observation({"image": frame}, words)


@pytest.fixture(scope="module")
def published_policy(published: tuple[Path, dict[str, np.ndarray]]) -> Policy:
    return models.load(published[0], action_stats=str(published[1]["unnorm_key"]))


@pytest.fixture(scope="module")
def answer(published_policy: Policy, asked: Observation) -> Prediction:
    return published_policy.predict(asked, EVERYTHING)


@pytest.fixture(scope="module")
def reference(published: tuple[Path, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return published[1]


@pytest.mark.slow
def test_published_ids_and_actions(answer: Prediction, reference: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(answer.tokens, reference["generated_ids"])
    np.testing.assert_allclose(answer.actions, reference["actions"], atol=1e-6)


@pytest.mark.slow
def test_published_attention(answer: Prediction, reference: dict[str, np.ndarray]) -> None:
    rows, prompt = answer.attention[0].weights, reference["input_ids"].shape[1]
    assert answer.attention[0].queries == tuple(range(len(answer.layout.tokens) - 1))
    np.testing.assert_allclose(rows[:, :, :prompt, :prompt], reference["attn_prefill"], atol=2e-3)
    np.testing.assert_allclose(rows[:, :, prompt - 1, :prompt], reference["attn_prefill_last"], atol=1e-5)
    np.testing.assert_allclose(rows[:, :, prompt:].transpose(2, 0, 1, 3), reference["attn_step_rows"], atol=2e-3)


@pytest.mark.slow
def test_published_logits(
    published_policy: Policy, asked: Observation, answer: Prediction, reference: dict[str, np.ndarray]
) -> None:
    assert isinstance(published_policy, Differentiable)
    with torch.no_grad():
        found = published_policy.log_probabilities(published_policy.embed(asked), answer.tokens.tolist())
    expected = torch.log_softmax(torch.from_numpy(reference["step_logits"]).float(), dim=-1)
    np.testing.assert_allclose(found, expected, atol=1e-2)  # stored as float16, up to 12
    best = found.gather(1, torch.from_numpy(reference["step_logits_top5_ids"]))
    top = reference["step_logits_top5"]
    np.testing.assert_allclose(best - best[:, :1], top - top[:, :1], atol=1e-4)


@pytest.mark.slow
def test_published_image_features(
    published_policy: Policy, asked: Observation, reference: dict[str, np.ndarray]
) -> None:
    assert isinstance(published_policy, Differentiable)
    with torch.no_grad():
        seen = published_policy.embed(asked)[0, :256]
    np.testing.assert_allclose(seen / seen.shape[1] ** 0.5, reference["image_features"], atol=1e-5)


@pytest.mark.slow
def test_published_statistics_without_a_mask(
    published: tuple[Path, dict[str, np.ndarray]], asked: Observation, answer: Prediction
) -> None:
    """Every dimension is un-normalised, the gripper too; intrinsics are the default ones."""
    policy = models.load(published[0], action_stats="synthetic_nomask")
    assert policy.info.notes["intrinsics"] == "default"
    sections = ConfigSection.read(published[0] / "processor_config.json").section("statistics")
    bridge, other = (sections.section(key).section("action") for key in ("bridge_orig/1.0.0", "synthetic_nomask"))
    assert not other.has("mask")
    low, high = np.array(bridge.numbers("q01")), np.array(bridge.numbers("q99"))
    normalised = 2 * (answer.actions - low) / (high - low) - 1
    normalised[:, 6] = answer.actions[:, 6]
    low, high = np.array(other.numbers("q01")), np.array(other.numbers("q99"))
    np.testing.assert_allclose(policy.predict(asked).actions, 0.5 * (normalised + 1) * (high - low) + low, atol=1e-6)


@pytest.mark.slow
def test_published_checkpoint_in_half_precision(
    published: tuple[Path, dict[str, np.ndarray]], asked: Observation, answer: Prediction
) -> None:
    for dtype in ("bfloat16", "float16"):
        found = models.load(published[0], action_stats="bridge_orig/1.0.0", dtype=dtype).predict(asked)
        assert np.isfinite(found.token_logprobs).all()
        np.testing.assert_allclose(found.depth[0].metres, answer.depth[0].metres, rtol=0.05)


@pytest.fixture(scope="module", params=SPATIAL)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Policy, Prediction]:
    family, write = CASES[request.param]
    folder = write(tmp_path_factory.mktemp("checkpoint") / "it")
    policy = models.load(folder, family=family)
    return folder, policy, policy.predict(observation(), EVERYTHING)


def stored(folder: Path) -> dict[str, Tensor]:
    return {name: each for file in folder.glob("*.safetensors") for name, each in load_file(file).items()}


def eager_language(folder: Path) -> Gemma2ForCausalLM:
    """Gemma 2 from the same tensors by hand, its action rows replaced."""
    config, tensors = ConfigSection.read(folder / "config.json"), stored(folder)
    text = Gemma2Config(**config.section("text_config").fields, attn_implementation="eager")
    model = Gemma2ForCausalLM(text).eval()
    start = "language_model."
    model.load_state_dict({name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)})
    if config.flag("use_spatial_token", False):
        rows = tensors["spatial_embed_tokens.weight"]
        model.model.embed_tokens.weight.data[-len(rows) :] = rows
    return model


def masks(start: int, stop: int, prefix: int, window: int) -> dict[str, Tensor]:
    """Additive: the prompt sees all of itself, what follows only what came before; sliding layers not too far back."""
    query, key = np.arange(start, stop)[:, None], np.arange(stop)[None]
    seen = (key <= query) | ((query < prefix) & (key < prefix))
    near = seen & (query - key < window)
    kinds = {
        "full_attention": seen,
        "sliding_attention": near[:, -window:] if start else near,
    }  # a cache drops the rest
    return {kind: torch.from_numpy(np.where(each, 0.0, -1e9))[None, None].float() for kind, each in kinds.items()}


@torch.inference_mode()
def replay(folder: Path, policy: Policy, prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Rows of every position and log-probabilities of every token, step by step under eager attention."""
    assert isinstance(policy, Differentiable)
    model, embedded = eager_language(folder), policy.embed(observation())
    window, prompt, total = model.config.sliding_window, embedded.shape[1], len(prediction.layout.tokens)
    steps = [{"inputs_embeds": embedded}, *({"input_ids": torch.tensor([[each]])} for each in prediction.tokens[:-1])]
    cache, blocks, logprobs, read = DynamicCache(config=model.config), [], [], 0
    for step in steps:
        start, read = read, prompt if read == 0 else read + 1
        places = torch.arange(start + 1, read + 1)[None]
        mask = masks(start, read, prompt, window)
        output = model(**step, attention_mask=mask, position_ids=places, past_key_values=cache, output_attentions=True)
        rows = [each[0].numpy() for each in output.attentions]
        rows = [np.pad(each, ((0, 0), (0, 0), (read - each.shape[-1], total - read))) for each in rows]
        blocks.append(np.stack(rows))
        logprobs.append(torch.log_softmax(output.logits[0, -1].float(), -1).numpy())
    return np.concatenate(blocks, axis=2), np.stack(logprobs)


@pytest.mark.slow
def test_rows_equal_eager_maps(run: tuple[Path, Policy, Prediction]) -> None:
    folder, policy, prediction = run
    rows, logprobs = replay(folder, policy, prediction)
    assert prediction.attention[0].weights.shape == rows.shape
    np.testing.assert_allclose(prediction.attention[0].weights, rows, atol=1e-5)
    assert rows.std(-1).max() > 0.05, "flat maps would agree with anything"
    taken = logprobs[np.arange(len(prediction.tokens)), prediction.tokens]
    np.testing.assert_allclose(prediction.token_logprobs, taken, atol=1e-4)


def test_the_prompt_looks_both_ways(run: tuple[Path, Policy, Prediction]) -> None:
    prediction = run[2]
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    first = prediction.attention[0].weights[:, :, 0]
    assert (first[:, :, 1:prompt] > 0).all()
    assert not first[:, :, prompt:].any()


def test_vision_rows_equal_eager_maps(run: tuple[Path, Policy, Prediction]) -> None:
    folder, _, prediction = run
    settings = ConfigSection.read(folder / "config.json").section("vision_config").fields
    tower = SiglipVisionModel(SiglipVisionConfig(**settings, attn_implementation="eager")).eval()
    start = "vision_tower.vision_model."
    tower.load_state_dict({name.removeprefix(start): each for name, each in stored(folder).items() if start in name})
    frame = Image.fromarray(observation().images["image"]).resize((56, 56), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        maps = np.stack([each[0].numpy() for each in tower(pixels, output_attentions=True).attentions])
    np.testing.assert_allclose(prediction.attention[1].weights, maps, atol=1e-5)


@pytest.mark.slow
def test_teacher_forcing_gives_the_same_log_probabilities(run: tuple[Path, Policy, Prediction]) -> None:
    _, policy, prediction = run
    assert isinstance(policy, Differentiable)
    with torch.no_grad():
        found = policy.log_probabilities(policy.embed(observation()), prediction.tokens.tolist())
    taken = found[torch.arange(len(prediction.tokens)), torch.from_numpy(prediction.tokens)]
    np.testing.assert_allclose(taken.numpy(), prediction.token_logprobs, atol=1e-4)


@pytest.mark.slow
def test_gradients_reach_image_and_words(run: tuple[Path, Policy, Prediction]) -> None:
    _, policy, prediction = run
    assert isinstance(policy, Differentiable)
    embedded = policy.embed(observation()).detach().requires_grad_()
    policy.log_probabilities(embedded, prediction.tokens.tolist())[-1].max().backward()
    assert embedded.grad is not None
    strength = embedded.grad[0].norm(dim=-1)
    assert strength.shape == (len(policy.layout(observation()).tokens),)
    assert (strength > 0).all()
