"""OpenVLA-OFT against a plain computation of its own description, and what its files may hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import models
from analysis.attention import rollout
from models.errors import UserError
from models.policy import Differentiable, Policy
from models.types import Capture, Observation, Part, Prediction
from tests.contracts.policy_cases import observation
from tests.tiny_openvla import EOS, statistics
from tests.tiny_openvla_oft import LIBERO, write_openvla_oft

EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)
HEAD, PROJECTOR = "action_head--100_checkpoint.safetensors", "proprio_projector--100_checkpoint.safetensors"
STATE = np.array([0.1, -0.2, 0.05, 3.0, -3.0, 0.0, 0.15, -0.1], np.float32)  # two values are outside the statistics


def two_images(seed: int = 0) -> Observation:
    one, other = observation(seed), observation(seed + 50)
    return Observation({"full": one.images["image"], "wrist": other.images["image"]}, one.instruction, STATE)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_openvla_oft(tmp_path_factory.mktemp("oft") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_openvla_oft(tmp_path / "it")


class Plain:
    """The published description in plain matrix products, from the stored tensors alone."""

    def __init__(self, folder: Path, layers: int = 3, heads: int = 4, dimensions: int = 7, chunk: int = 8):
        self.weights = load_file(folder / "model.safetensors")
        self.head = load_file(folder / HEAD)
        self.projector = load_file(folder / PROJECTOR)
        self.statistics = next(iter(json.loads((folder / "dataset_statistics.json").read_text()).values()))
        self.layers, self.heads, self.dimensions, self.chunk = layers, heads, dimensions, chunk

    def sequence(self, images: torch.Tensor, ids: tuple[int, ...], state: np.ndarray) -> torch.Tensor:
        """``images``: [I, patches, width], as the projector of the OpenVLA makes them."""
        words = self.weights["language_model.model.embed_tokens.weight"]
        known = {name: np.array(values) for name, values in self.statistics["proprio"].items()}
        scaled = 2 * (state - known["q01"]) / (known["q99"] - known["q01"] + 1e-8) - 1
        told = torch.from_numpy(np.clip(scaled, -1, 1)).float()
        told = functional.gelu(told @ self.projector["fc1.weight"].T + self.projector["fc1.bias"])
        told = told @ self.projector["fc2.weight"].T + self.projector["fc2.bias"]
        empty = torch.zeros(self.chunk * self.dimensions, words.shape[1])
        pieces = [words[[ids[0]]], *images, told[None], words[list(ids[1:])], empty, words[[EOS]]]
        return torch.cat(pieces)

    def read(self, x: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """Hidden states after the last norm, and every row of every layer: nothing is masked."""
        rows = []
        for layer in range(self.layers):
            name = f"language_model.model.layers.{layer}."
            weights, values = self.attention(name, self.rms(x, f"{name}input_layernorm"))
            rows.append(weights.numpy())
            mixed = (weights @ values).transpose(0, 1).reshape(x.shape)
            x = x + mixed @ self.weights[f"{name}self_attn.o_proj.weight"].T
            inner = self.rms(x, f"{name}post_attention_layernorm")
            gate, up, down = (self.weights[f"{name}mlp.{each}_proj.weight"] for each in ("gate", "up", "down"))
            x = x + (functional.silu(inner @ gate.T) * (inner @ up.T)) @ down.T
        return self.rms(x, "language_model.model.norm"), np.stack(rows)

    def attention(self, name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        size = x.shape[1] // self.heads
        query, key, value = (
            (x @ self.weights[f"{name}self_attn.{each}_proj.weight"].T).reshape(len(x), -1, size).transpose(0, 1)
            for each in ("q", "k", "v")
        )
        angles = torch.arange(len(x))[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
        cos, sin = (torch.cat([part, part], dim=1) for part in (angles.cos(), angles.sin()))

        def turn(a: torch.Tensor) -> torch.Tensor:
            left, right = a.chunk(2, dim=-1)
            return a * cos + torch.cat([-right, left], dim=-1) * sin

        shared = self.heads // len(key)
        key, value = (each.repeat_interleave(shared, dim=0) for each in (turn(key), value))
        return torch.softmax(turn(query) @ key.transpose(1, 2) / size**0.5, dim=-1), value

    def rms(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weights[f"{name}.weight"]

    def actions(self, hidden: torch.Tensor, prompt: int) -> np.ndarray:
        """From the hidden states one position before each action's own."""
        count = self.chunk * self.dimensions
        x = hidden[prompt - 1 : prompt - 1 + count].reshape(self.chunk, -1)
        x = functional.relu(self.linear(self.norm(x, "model.layer_norm1"), "model.fc1"))
        for number in range(2):
            ffn = f"model.mlp_resnet_blocks.{number}.ffn"
            x = x + functional.relu(self.linear(self.norm(x, f"{ffn}.0"), f"{ffn}.1"))
        x = self.linear(self.norm(x, "model.layer_norm2"), "model.fc2").double().numpy()
        known = {name: np.array(values) for name, values in self.statistics["action"].items()}
        scaled = 0.5 * (x + 1) * (known["q99"] - known["q01"] + 1e-8) + known["q01"]
        return np.where(known["mask"], scaled, x)

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.head[f"{name}.weight"].T + self.head[f"{name}.bias"]

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.head[f"{name}.weight"], self.head[f"{name}.bias"])


@torch.inference_mode()
def image_features(policy: Policy, seen: Observation) -> torch.Tensor:
    """One image at a time."""
    question = policy._question(seen)
    pixels = [[torch.from_numpy(image.pixels)[None] for image in tower] for tower in question.seen]
    return torch.cat([policy.model.vla.image_features(each) for each in zip(*pixels, strict=True)])


@pytest.fixture(scope="module")
def said(tiny: Path) -> Prediction:
    return models.load(tiny).predict(two_images(), EVERYTHING)


@pytest.fixture(scope="module")
def plain(tiny: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows and actions."""
    policy, plain = models.load(tiny), Plain(tiny)
    prompt = policy._question(two_images()).prompt
    sequence = plain.sequence(image_features(policy, two_images()), prompt.ids, STATE)
    hidden, rows = plain.read(sequence)
    return rows, plain.actions(hidden, prompt.length)


@pytest.mark.slow
def test_actions_equal_the_plain_computation(said: Prediction, plain: tuple[np.ndarray, np.ndarray]) -> None:
    assert said.actions.shape == (8, 7)
    np.testing.assert_allclose(said.actions, plain[1], atol=1e-5)
    assert said.actions.std(axis=0).min() > 1e-3, "steps that were all alike would agree with anything"


def test_rows_equal_the_plain_computation(said: Prediction, plain: tuple[np.ndarray, np.ndarray]) -> None:
    record = said.attention[0]
    assert record.weights.shape == plain[0].shape
    np.testing.assert_allclose(record.weights, plain[0], atol=1e-5)
    assert record.weights.std(-1).max() > 0.05, "flat maps would agree with anything"


def test_rows_of_the_actions_alone(tiny: Path, plain: tuple[np.ndarray, np.ndarray]) -> None:
    said = models.load(tiny).predict(two_images(), Capture(layers=(2,)))
    (record,) = said.attention
    prompt = len(said.layout.tokens) - said.written
    assert record.queries == tuple(range(prompt - 1, prompt - 1 + 56))
    assert record.produced == tuple(range(56))
    assert (record.stream, record.denoising_step, record.layers) == ("language", None, (2,))
    np.testing.assert_allclose(record.weights[0], plain[0][2][:, list(record.queries)], atol=1e-5)


@pytest.mark.slow
def test_rollout_passes_through_what_stands_behind_too(tiny: Path) -> None:
    record = models.load(tiny).predict(two_images(), EVERYTHING).attention[0]
    assert record.queries == tuple(range(len(record.layout.tokens)))
    assert record.produced[-3:] == (55, -1, -1), "the last action is read off the one before it, the end token is none"
    flow = rollout(record, record.queries[-4:-2])
    np.testing.assert_allclose(flow.sum(axis=1), 1, atol=1e-6)
    assert (flow > 0).all()


def test_layout(tiny: Path) -> None:
    policy = models.load(tiny)
    said = policy.predict(two_images())
    assert [(span.part, span.name, span.stop - span.start) for span in policy.layout(two_images()).spans] == [
        (Part.SPECIAL, "bos", 1),
        (Part.IMAGE, "full", 25),
        (Part.IMAGE, "wrist", 25),
        (Part.STATE, "state", 1),
        (Part.PROMPT, "prompt", 9),
        (Part.INSTRUCTION, "instruction", 6),
        (Part.PROMPT, "prompt", 4),
    ]
    written = said.layout.spans[7:]
    assert [span.name for span in written[:2]] == ["step 0 x", "step 0 y"]
    assert (written[55].name, written[56].part, written[56].name) == ("step 7 gripper", Part.SPECIAL, "eos")
    assert (said.written, len(said.layout.positions(Part.ACTION)), len(said.tokens)) == (57, 56, 0)
    assert said.layout.tokens[written[8].start] == f"y {said.actions[1, 1]:+.3g}"


@pytest.mark.slow
def test_images_in_the_order_of_the_observation(tiny: Path) -> None:
    policy, seen = models.load(tiny), two_images()
    turned = Observation(dict(reversed(seen.images.items())), seen.instruction, seen.state)
    one = Observation({"full": seen.images["full"]}, seen.instruction, seen.state)
    said = [policy.predict(each).actions for each in (seen, turned, one, two_images(1))]
    for number, actions in enumerate(said):
        assert all(np.abs(actions - other).max() > 1e-4 for other in said[:number])
    assert [span.name for span in policy.layout(turned).spans[1:3]] == ["wrist", "full"]


def test_the_state_decides_too(tiny: Path) -> None:
    policy, seen = models.load(tiny), two_images()
    other = policy.predict(Observation(seen.images, seen.instruction, -STATE))
    assert np.abs(policy.predict(seen).actions - other.actions).max() > 1e-4
    clipped = policy.predict(Observation(seen.images, seen.instruction, np.where(np.abs(STATE) > 2, 2 * STATE, STATE)))
    np.testing.assert_array_equal(clipped.actions, policy.predict(seen).actions)


def test_vision_rows_of_each_image(tiny: Path) -> None:
    policy, seen = models.load(tiny), two_images()
    both = [each for each in policy.predict(seen, EVERYTHING).attention if each.stream == "vision dinov2"]
    assert [each.layout.spans[-1].name for each in both] == ["full", "wrist"]
    alone = Observation({"wrist": seen.images["wrist"]}, seen.instruction, STATE)
    (one,) = (each for each in policy.predict(alone, EVERYTHING).attention if each.stream == "vision dinov2")
    np.testing.assert_allclose(both[1].weights, one.weights, atol=1e-6)


@pytest.mark.slow
def test_capture_changes_nothing_and_there_are_no_gradients(tiny: Path) -> None:
    policy = models.load(tiny)
    plain, watched = policy.predict(two_images()), policy.predict(two_images(), EVERYTHING)
    np.testing.assert_array_equal(plain.actions, watched.actions)
    assert plain.attention == ()
    assert not isinstance(policy, Differentiable)


def test_what_is_told(tiny: Path) -> None:
    info = models.inspect(tiny)
    assert (info.family, info.cameras, info.every_camera, len(info.state_names)) == ("openvla_oft", (), True, 8)
    assert (info.action_space.chunk, info.action_space.bins, info.action_stats) == (8, None, (LIBERO,))
    stored = [load_file(file) for file in tiny.glob("*.safetensors")]
    assert info.parameters == sum(tensor.numel() for each in stored for tensor in each.values())
    assert "language_model.lm_head.weight" in info.unused
    assert f"{LIBERO}: 8 steps scaled by q01 and q99, as on LIBERO" in info.notes["chunk"]
    assert models.alternatives(tiny) == ("openvla_oft",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "dimensions", "chunk", "limits"),
    [
        ("libero_10_no_noops", 7, 8, ("q01", "q99")),
        ("aloha_put_x_into_pot_300_demos", 14, 25, ("min", "max")),
        ("bridge_orig", 7, 5, ("q01", "q99")),
        ("mine", 6, 8, ("q01", "q99")),
    ],
)
def test_platforms(key: str, dimensions: int, chunk: int, limits: tuple[str, str], tmp_path: Path) -> None:
    folder = write_openvla_oft(tmp_path, key=key, dimensions=dimensions, state=None)
    policy = models.load(folder)
    assert policy.predict(observation()).actions.shape == (chunk, dimensions)
    action = json.loads((folder / "dataset_statistics.json").read_text())[key]["action"]
    low, high = policy.info.action_space.low, policy.info.action_space.high
    assert low[:-1] == pytest.approx(action[limits[0]][:-1])
    assert high[:-1] == pytest.approx(action[limits[1]][:-1])
    assert ("an assumption" in policy.info.notes["chunk"]) == (key == "mine")
    assert not [span for span in policy.layout(observation()).spans if span.part is Part.STATE]


@pytest.mark.slow
def test_several_data_sets_are_asked_for(folder: Path) -> None:
    known = json.loads((folder / "dataset_statistics.json").read_text())
    known["bridge_orig"] = known[LIBERO]
    (folder / "dataset_statistics.json").write_text(json.dumps(known))
    info = models.inspect(folder)
    assert (info.action_space.low, info.action_space.chunk) == ((), 1)
    assert info.notes["action_stats"].startswith("several data sets")
    with pytest.raises(UserError, match=f"action_stats of {LIBERO}, bridge_orig"):
        models.load(folder)
    assert models.load(folder, action_stats="bridge_orig").predict(two_images()).actions.shape == (5, 7)


def test_only_the_heads_own_data_sets_count(folder: Path) -> None:
    """config.json's norm_stats are those of the OpenVLA that was tuned."""
    config = json.loads((folder / "config.json").read_text())
    config["norm_stats"] = {"fractal": statistics(6)}
    (folder / "config.json").write_text(json.dumps(config))
    assert models.inspect(folder).action_stats == (LIBERO,)
    assert "action_stats" not in models.inspect(folder).notes
    assert models.load(folder).predict(two_images()).actions.shape == (8, 7)


@pytest.mark.slow
def test_names_that_were_saved_on_several_devices(tiny: Path, tmp_path: Path) -> None:
    wrapped = models.load(write_openvla_oft(tmp_path, prefix="module."))
    expected = models.load(tiny).predict(two_images()).actions
    np.testing.assert_array_equal(wrapped.predict(two_images()).actions, expected)


def test_other_heads_are_another_checkpoint(tiny: Path, folder: Path) -> None:
    assert models.inspect(folder).digest == models.inspect(tiny).digest
    change(folder / HEAD, lambda tensors: tensors["model.fc2.bias"].add_(1))
    assert models.inspect(folder).digest != models.inspect(tiny).digest


def test_bfloat16(tiny: Path) -> None:
    said = models.load(tiny, dtype="bfloat16").predict(two_images(), EVERYTHING)
    assert np.isfinite(said.actions).all()
    np.testing.assert_allclose(said.attention[0].weights.sum(-1), 1, atol=1e-5)


def change(file: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (HEAD, lambda t: t.pop("model.fc1.weight"), r"lacks the tensor model\.fc1\.weight"),
        (HEAD, lambda t: t.pop("model.layer_norm2.bias"), r"lack the tensor model\.layer_norm2\.bias"),
        (HEAD, lambda t: t.update({"model.fc3.bias": torch.zeros(3)}), r"the tensor model\.fc3\.bias, which belongs"),
        (HEAD, lambda t: t.update({"model.fc2.weight": torch.zeros(6, 64)}), r"model\.fc2\.weight has shape \[6, 64\]"),
        (HEAD, lambda t: t.update({"model.fc1.weight": torch.zeros(64, 100)}), "expected a multiple of .* size of 64"),
        (HEAD, lambda t: t.update({"model.fc1.weight": torch.zeros(64)}), r"has shape \[64\], expected a matrix"),
        (HEAD, lambda t: t.update({"noise_predictor.x": torch.zeros(1)}), "a diffusion head, which is not supported"),
        (PROJECTOR, lambda t: t.pop("fc2.bias"), r"lack the tensor fc2\.bias"),
        (PROJECTOR, lambda t: t.update({"fc1.weight": torch.zeros(64, 9)}), "q01 has 8 values, expected 9"),
        ("model.safetensors", lambda t: t.pop("projector.fc1.bias"), r"lack the tensor projector\.fc1\.bias"),
    ],
)
def test_tensors_that_do_not_fit(file: str, edit: Callable, message: str, folder: Path) -> None:
    change(folder / file, edit)
    with pytest.raises(UserError, match=message):
        models.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("noisy_action_projector--100_checkpoint.pt", r"noisy_action_projector.*, the projector of the diffusion head"),
        ("vision_backbone--100_checkpoint.safetensors", r"vision_backbone.*, the vision tower with its FiLM layers"),
        ("action_head--200_checkpoint.safetensors", r"are one part; keep the one that belongs to the weights"),
    ],
)
def test_parts_that_are_not_supported(name: str, message: str, folder: Path) -> None:
    (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=f"cannot be opened: .*{message}"):
        models.load(folder)


@pytest.mark.slow
def test_a_pickle_beside_its_conversion_is_left_alone(folder: Path) -> None:
    (folder / "action_head--100_checkpoint.pt").write_bytes(b"\x80\x04.")
    assert models.load(folder).predict(two_images()).actions.shape == (8, 7)


def test_a_projector_that_is_a_pickle(folder: Path) -> None:
    (folder / PROJECTOR).rename(folder / "proprio_projector--100_checkpoint.pt")
    with pytest.raises(UserError, match=rf"convert what you trust to {PROJECTOR}, with the same keys"):
        models.load(folder)


def test_not_as_another_family(folder: Path, tmp_path: Path) -> None:
    for family in ("openvla", "ecot"):
        with pytest.raises(UserError, match='opens as what it is with family="openvla_oft"'):
            models.load(folder, family=family)
    for name in (HEAD, PROJECTOR):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"has no action_head\*\.safetensors"):
        models.load(folder, family="openvla_oft")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": None}, "reads 8 state values, the observation has no state"),
        ({"state": np.zeros(7, np.float32)}, r"reads 8 state values, found shape \(7,\)"),
        ({"state": np.full(8, np.nan, np.float32)}, "state is not finite"),
        ({"images": {}}, "reads one image or several, the observation has none"),
    ],
)
def test_observations_that_cannot_be_read(changes: dict, message: str, tiny: Path) -> None:
    seen = two_images()
    fields = {"images": seen.images, "instruction": seen.instruction, "state": seen.state} | changes
    with pytest.raises(UserError, match=message):
        models.load(tiny).predict(Observation(**fields))


def test_too_few_positions(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 100
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="prompt and actions have 128 positions, the policy has 100"):
        models.load(folder).predict(two_images())


@pytest.mark.slow
def test_heads_beside_a_lora_adapter(folder: Path, tmp_path: Path) -> None:
    """As training saves them before the adapter is merged: the adapter's folder holds heads and statistics."""
    name = "language_model.model.layers.1.self_attn.q_proj"
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 64, generator=random), torch.randn(64, 4, generator=random)
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    shutil.copytree(folder, merged)
    change(merged / "model.safetensors", lambda tensors: tensors[f"{name}.weight"].add_(2 * b @ a))
    adapter.mkdir()
    for file in (HEAD, PROJECTOR, "dataset_statistics.json"):
        (folder / file).rename(adapter / file)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "it"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    prefix = f"base_model.model.{name}"
    save_file({f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}, adapter / "adapter_model.safetensors")
    one, other = models.load(adapter).predict(two_images()), models.load(merged).predict(two_images())
    np.testing.assert_allclose(one.actions, other.actions, atol=1e-5)
    before = models.inspect(adapter).digest
    change(adapter / HEAD, lambda tensors: tensors["model.fc2.bias"].add_(1))
    assert models.inspect(adapter).digest != before
