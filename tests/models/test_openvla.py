"""OpenVLA: parity with the original's own run, exact rows, prompts, data sets, and what depends on the image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DynamicCache

import models
from models.errors import UserError
from models.families.openvla_actions import OpenVLAActions
from models.policy import Differentiable
from models.types import Capture, Observation, Part
from tests.contracts.policy_cases import observation
from tests.tiny_openvla import ACTIONS, statistics, write_openvla

EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_openvla(tmp_path_factory.mktemp("openvla") / "tiny")


@pytest.fixture(scope="module")
def published(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that the original project's code wrote."""
    out = tmp_path_factory.mktemp("published")
    source = shared_data / "checkpoints"
    made = [sys.executable, str(source / "materialize.py"), str(source / "openvla-tiny"), str(out)]
    subprocess.run(made, check=True, capture_output=True)
    return out / "openvla-tiny"


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "checkpoints/reference/openvla-tiny.npz") as file:
        return dict(file)


def photograph(shared_data: Path, name: str = "widowx_256.png") -> Observation:
    frame = np.asarray(Image.open(shared_data / "images" / name).convert("RGB"))
    return Observation({"image": frame}, "put carrot on plate")


class TestAgainstTheOriginal:
    @pytest.mark.slow
    def test_tokens_and_actions(self, published: Path, reference: dict[str, np.ndarray], shared_data: Path) -> None:
        policy = models.load(published, action_stats=str(reference["unnorm_key"]))
        said = policy.predict(photograph(shared_data))
        np.testing.assert_array_equal(said.tokens, reference["generated_ids"])
        np.testing.assert_allclose(said.actions[0], reference["actions"], atol=1e-4)
        assert said.action_names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")

    @pytest.mark.slow
    def test_prompt_and_pixels(self, published: Path, reference: dict[str, np.ndarray], shared_data: Path) -> None:
        policy = models.load(published, action_stats="bridge_orig")
        question = policy._reader.question(photograph(shared_data))
        np.testing.assert_array_equal(question.prompt.ids, reference["input_ids"][0])
        pixels = np.concatenate([seen.pixels for seen in question.seen])
        np.testing.assert_allclose(pixels, reference["pixel_values"][0], atol=1e-3)  # stored as float16
        np.testing.assert_allclose(pixels.sum((1, 2), dtype=np.float64), reference["pixel_values_sum"][0], rtol=1e-9)

    @pytest.mark.slow
    def test_attention(self, published: Path, reference: dict[str, np.ndarray], shared_data: Path) -> None:
        policy = models.load(published, action_stats="bridge_orig")
        record = policy.predict(photograph(shared_data), EVERYTHING).attention[0]
        maps = reference["attn_full"].astype(np.float32)
        assert record.weights.shape == (maps.shape[0], maps.shape[1], maps.shape[2] - 1, maps.shape[3])
        np.testing.assert_allclose(record.weights, maps[:, :, :-1], atol=2e-3)
        prompt = reference["input_ids"].shape[1] + int(reference["n_patches"])
        written = [query for query, token in zip(record.queries, record.produced, strict=True) if token >= 0]
        assert written == [prompt - 1 + dimension for dimension in range(7)]

    @pytest.mark.slow
    def test_image_features(self, published: Path, reference: dict[str, np.ndarray], shared_data: Path) -> None:
        policy = models.load(published, action_stats="bridge_orig")
        with torch.inference_mode():
            embedded = policy.embed(photograph(shared_data))[0, 1 : 1 + int(reference["n_patches"])]
        np.testing.assert_allclose(embedded, reference["projector_features"], atol=1e-4)

    @pytest.mark.slow
    def test_distributions(self, published: Path, reference: dict[str, np.ndarray], shared_data: Path) -> None:
        said = models.load(published, action_stats="bridge_orig").predict(photograph(shared_data))
        logits = torch.from_numpy(reference["step_logits_actionrange"]).double()
        expected = torch.softmax(logits, -1).flip(-1)  # a larger id is a smaller value, and values ascend here
        found = np.stack([each.probabilities for each in said.action_distribution])
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.slow
    def test_another_image_gives_another_action(self, published: Path, shared_data: Path) -> None:
        policy = models.load(published, action_stats="bridge_orig")
        names = ("widowx_256.png", "rt1_320x256.png", "ecot_test_obs_640x480.png")
        said = [policy.predict(photograph(shared_data, name)) for name in names]
        assert len({tuple(each.tokens) for each in said}) == 3

    @pytest.mark.slow
    def test_other_numbers_of_dimensions(self, published: Path, shared_data: Path) -> None:
        policy = models.load(published, action_stats="synthetic_bimanual14")
        said = policy.predict(photograph(shared_data))
        assert said.actions.shape == (1, 14)
        assert said.action_names[:2] == ("action 0", "action 1")
        assert set(said.action_units) == {""}
        seven = models.load(published, action_stats="synthetic_nomask").predict(photograph(shared_data))
        np.testing.assert_array_equal(said.tokens[:7], seven.tokens)
        low, high = policy.info.action_space.low, policy.info.action_space.high
        assert (low[0], high[0], low[-1], high[-1]) == pytest.approx((-0.1, 0.05, -1, 1))


@torch.inference_mode()
def eager(policy: models.policy.Policy, seen: Observation, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of every query and log-probabilities of every token, by transformers' eager attention, step by step."""
    language = policy.model.language_model
    embedded = policy.embed(seen)
    language.set_attn_implementation("eager")
    try:
        cache, rows, logprobs = DynamicCache(config=language.config), [], []
        total = embedded.shape[1] + len(tokens) - 1
        steps = [{"inputs_embeds": embedded}, *({"input_ids": torch.tensor([[int(each)]])} for each in tokens[:-1])]
        for step in steps:
            output = language(**step, past_key_values=cache, output_attentions=True)
            maps = np.stack([each[0].numpy() for each in output.attentions])
            rows.append(np.pad(maps, ((0, 0), (0, 0), (0, 0), (0, total + 1 - maps.shape[-1]))))
            logprobs.append(torch.log_softmax(output.logits[0, -1], -1).numpy())
    finally:
        language.set_attn_implementation("vla_lens_rows")
    return np.concatenate(rows, axis=2), np.stack(logprobs)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"towers": ("siglip",), "kv_heads": 2}], ids=["fused", "one tower"])
def test_rows_and_log_probabilities_equal_eager(settings: dict, tmp_path: Path) -> None:
    policy = models.load(write_openvla(tmp_path, **settings))
    said = policy.predict(observation(), EVERYTHING)
    rows, logprobs = eager(policy, observation(), said.tokens)
    record = said.attention[0]
    np.testing.assert_allclose(record.weights, rows, atol=1e-5)
    assert record.weights.std(-1).max() > 0.05, "flat maps would agree with anything"
    taken = logprobs[np.arange(len(said.tokens)), said.tokens]
    np.testing.assert_allclose(said.token_logprobs, taken, atol=1e-4)


@pytest.mark.slow
def test_vision_rows_equal_attention_worked_out_from_the_weights(tiny: Path) -> None:
    """The first block's rows of the registers' tower, from the stored tensors alone."""
    policy = models.load(tiny)
    records = {each.stream: each for each in policy.predict(observation(), EVERYTHING).attention}
    assert list(records) == ["language", "vision dinov2", "vision siglip"]
    tower = policy.model.vision_backbone.featurizer
    pixels = torch.from_numpy(policy._reader.question(observation()).seen[0].pixels)[None]
    with torch.inference_mode():
        patches = tower.patch_embed.proj(pixels).flatten(2).transpose(1, 2) + tower.pos_embed
        x = torch.cat([tower.cls_token, tower.reg_token, patches], dim=1)[0]
        query, key, _ = tower.blocks[0].attn.qkv(tower.blocks[0].norm1(x)).chunk(3, dim=-1)
        by_head = [each.reshape(len(x), 6, 4).transpose(0, 1) for each in (query, key)]
        expected = torch.softmax(by_head[0] @ by_head[1].transpose(1, 2) / 2, dim=-1)
    np.testing.assert_allclose(records["vision dinov2"].weights[0], expected, atol=1e-5)
    layout = records["vision dinov2"].layout
    assert layout.tokens[:5] == ("cls", "register 0", "register 1", "register 2", "register 3")
    assert [span.part for span in layout.spans] == [Part.SPECIAL] * 5 + [Part.IMAGE]
    assert records["vision dinov2"].layers == (0, 1)
    assert records["vision siglip"].layers == (0, 1, 2)
    assert len(records["vision siglip"].layout.tokens) == 25


@pytest.mark.slow
def test_two_towers_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    policy = models.load(write_openvla(tmp_path, towers=("vit", "vit")))
    streams = [each.stream for each in policy.predict(observation(), Capture(vision=True)).attention]
    assert streams == ["language", "vision vit 1", "vision vit 2"]


@pytest.mark.slow
def test_gradients_reach_the_image(tiny: Path) -> None:
    policy = models.load(tiny)
    assert isinstance(policy, Differentiable)
    said = policy.predict(observation())
    embedded = policy.embed(observation()).detach().requires_grad_()
    logprobs = policy.log_probabilities(embedded, said.tokens.tolist())
    taken = logprobs[torch.arange(7), torch.from_numpy(said.tokens)]
    np.testing.assert_allclose(taken.detach(), said.token_logprobs, atol=1e-4)
    taken.sum().backward()
    image = next(span for span in said.layout.spans if span.part is Part.IMAGE)
    assert embedded.grad[0, image.start : image.stop].abs().sum(-1).min() > 0


def test_layout(tiny: Path) -> None:
    layout = models.load(tiny).layout(replace(observation(), instruction="Put the Carrot on the plate"))
    assert [(span.part, span.name) for span in layout.spans] == [
        (Part.SPECIAL, "bos"),
        (Part.IMAGE, "image"),
        (Part.PROMPT, "prompt"),
        (Part.INSTRUCTION, "instruction"),
        (Part.PROMPT, "prompt"),
    ]
    said = layout.spans[3]
    assert layout.tokens[said.start : said.stop] == ("put", "the", "carrot", "on", "the", "plate")
    assert layout.tokens[said.stop :] == ("?", "Out", ":", "▁")
    assert (said.start, layout.spans[1].start, layout.spans[1].stop) == (26 + 9, 1, 26)


V01 = "A chat between a curious user"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "config", "beginning", "reason"),
    [
        ("openvla-7b", {}, "In : What", "that of OpenVLA after v0.1"),
        ("openvla-v01-7b", {}, V01, "called 'openvla-v01-7b'"),
        ("mine", {"_name_or_path": "openvla/openvla-v01-7b"}, V01, "called 'openvla/openvla-v01-7b'"),
        ("mine", {"llm_backbone_id": "vicuna-v15-7b"}, V01, "llm_backbone_id is 'vicuna-v15-7b'"),
    ],
)
def test_prompt_forms(folder: str, config: dict, beginning: str, reason: str, tmp_path: Path) -> None:
    policy = models.load(write_openvla(tmp_path / folder, **config))
    tokens = policy.layout(observation()).tokens[26:]
    assert " ".join(tokens).startswith(beginning)
    assert tokens[-1] == "▁"
    assert " ".join(tokens[-3:]) in ("Out : ▁", "? ASSISTANT: ▁")
    assert reason in policy.info.notes["prompt"]


@pytest.mark.slow
def test_values_are_the_centres_between_edges(tiny: Path) -> None:
    policy = models.load(tiny)
    said = policy.predict(observation())
    assert all(token in ACTIONS for token in said.tokens)
    edges = np.linspace(-1, 1, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    normalised = centres[np.clip(32000 - said.tokens - 1, 0, 254)]
    action = statistics(7)["action"]
    q01, q99 = np.array(action["q01"]), np.array(action["q99"])
    expected = 0.5 * (normalised + 1) * (q99 - q01) + q01
    np.testing.assert_allclose(said.actions[0, :6], expected[:6])
    assert said.actions[0, 6] == pytest.approx(normalised[6]), "the mask leaves the gripper as it is"
    for each in said.action_distribution:
        assert len(each.values) == 256
        assert (np.diff(each.values) >= 0).all()


def test_values_lead_back_to_their_tokens() -> None:
    """The lowest word shares its value with the next; a value is the word of the edge at or below it, as published."""
    actions = OpenVLAActions(32000, 256)
    ids = np.array(ACTIONS)
    np.testing.assert_array_equal(actions.tokens(actions.normalised(ids))[1:], ids[1:])
    assert actions.tokens(np.array([-7, -1, 0, 1, 7])).tolist() == [31999, 31999, 31872, 31744, 31744]


def change(folder: Path, name: str, **entries: object) -> None:
    file = folder / name
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({k: v for k, v in (content | entries).items() if v is not None}))


@pytest.mark.slow
def test_several_data_sets_are_asked_for(tmp_path: Path) -> None:
    folder = write_openvla(tmp_path / "it", norm_stats=("bridge_orig", "fractal20220817_data"))
    with pytest.raises(UserError, match=r"action_stats of bridge_orig, fractal20220817_data"):
        models.load(folder)
    with pytest.raises(UserError, match=r"no action statistics 'bridge'; it has bridge_orig, fractal"):
        models.load(folder, action_stats="bridge")
    info = models.inspect(folder)
    assert info.action_stats == ("bridge_orig", "fractal20220817_data")
    assert info.action_space.names[0] == "x"
    assert info.action_space.low == ()


@pytest.mark.slow
def test_statistics_of_a_fine_tune_come_first(tmp_path: Path) -> None:
    folder = write_openvla(tmp_path / "it")
    halved = statistics(7)
    halved["action"]["q99"] = [0.5 * value for value in halved["action"]["q99"]]
    change(folder, "dataset_statistics.json", bridge_orig=halved, mine=statistics(3, masked=False))
    assert models.inspect(folder).action_stats == ("bridge_orig", "mine")
    assert "bridge_orig 7-D, mine 3-D" in models.inspect(folder).notes["action_stats"]
    assert models.load(folder, action_stats="bridge_orig").info.action_space.high[0] == pytest.approx(0.015)
    three = models.load(folder, action_stats="mine")
    assert three.predict(observation()).actions.shape == (1, 3)
    assert three.info.action_space.high == pytest.approx((0.03, 0.05, 0.04)), "no mask: all values are un-normalised"


@pytest.mark.slow
def test_ids_outside_the_range_are_clipped_as_in_the_original(tmp_path: Path) -> None:
    """With fewer bins than the model writes, some tokens are no actions; they count as the end they are past."""
    folder = write_openvla(tmp_path / "it")
    change(folder, "config.json", n_action_bins=8)
    said = models.load(folder).predict(observation())
    outside = [index for index, token in enumerate(said.tokens) if token < 31992]
    assert outside, "this checkpoint writes tokens below the range"
    for index in outside:
        assert said.action_distribution[index].values[-1] == pytest.approx(said.actions[0, index])
        assert f"(token {said.tokens[index]} is no action)" in said.layout.tokens[index - 7]


@pytest.mark.slow
def test_stops_at_the_end_token_as_the_original(tmp_path: Path) -> None:
    folder = write_openvla(tmp_path / "it")
    whole = models.load(folder).predict(observation())
    config = json.loads((folder / "config.json").read_text())
    change(folder, "config.json", text_config=config["text_config"] | {"eos_token_id": int(whole.tokens[2])})
    said = models.load(folder).predict(observation(), Capture(queries=tuple(Part)))
    np.testing.assert_array_equal(said.tokens, whole.tokens[:3])
    assert said.actions.shape == (0, 7)
    assert said.text == "[no action: 2 of 7 action tokens were written]"
    assert said.action_distribution == ()
    assert [span.name for span in said.layout.spans[-2:]] == ["incomplete", "eos"]


@pytest.mark.slow
def test_the_image_decides_the_action(tiny: Path) -> None:
    policy = models.load(tiny)
    said = [policy.predict(observation(seed)) for seed in range(4)]
    assert len({tuple(each.tokens) for each in said}) == 4
    assert len({each.actions.tobytes() for each in said}) == 4


@pytest.mark.slow
def test_bfloat16(tiny: Path) -> None:
    said = models.load(tiny, dtype="bfloat16").predict(observation(), EVERYTHING)
    assert np.isfinite(said.actions).all()
    for record in said.attention:
        np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_a_lora_adapter_on_it(tmp_path: Path) -> None:
    """peft's files for one projection; merged by hand into a copy they must say the same."""
    from safetensors.torch import load_file, save_file

    base = write_openvla(tmp_path / "base")
    name = "language_model.model.layers.1.self_attn.q_proj.weight"
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 64, generator=random), torch.randn(64, 4, generator=random)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "somewhere/base"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    prefix = "base_model.model." + name.removesuffix(".weight")
    save_file({f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}, adapter / "adapter_model.safetensors")
    merged = tmp_path / "merged"
    shutil.copytree(base, merged)
    tensors = load_file(merged / "model.safetensors")
    save_file(tensors | {name: tensors[name] + 2 * b @ a}, merged / "model.safetensors")
    one, other = models.load(adapter).predict(observation()), models.load(merged).predict(observation())
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.token_logprobs, other.token_logprobs, atol=1e-5)
    plain = models.load(base).predict(observation())
    assert not np.allclose(plain.token_logprobs, other.token_logprobs, atol=1e-3)


def test_inspect_says_what_there_is(tiny: Path) -> None:
    info = models.inspect(tiny)
    assert (info.family, info.layers, info.heads) == ("openvla", 3, 4)
    assert (info.vision_layers, info.vision_heads, info.patch_grid, info.image_size) == (2, 6, (5, 5), (70, 70))
    assert info.action_space.bins == 256
    assert "vision siglip: vit_so400m_patch14_siglip_224, 3 of 4 blocks, 16 heads" in info.notes["vision"]
    assert 'family="ecot"' in info.notes["family"]
    assert set(info.unused) == {
        "vision_backbone.featurizer.blocks.2.*",
        "vision_backbone.featurizer.norm.*",
        "vision_backbone.fused_featurizer.blocks.3.*",
        "vision_backbone.fused_featurizer.norm.*",
        "vision_backbone.fused_featurizer.attn_pool.*",
    }
