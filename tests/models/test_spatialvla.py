"""The SpatialVLA family beyond the contract: prompt, actions, depth, cameras, words, and files that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models.errors import UserError
from models.families.spatialvla import SpatialVLA
from models.policy import Policy
from models.types import Capture, Observation, Part, Rationale
from tests.contracts.policy_cases import observation
from tests.tiny_spatialvla import HIGH, INTRINSICS, LOW, SPATIAL_TOKENS, VOCABULARY, write_tiny_spatialvla

FIRST = len(VOCABULARY)
EOS = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_spatialvla(tmp_path_factory.mktemp("spatialvla") / "tiny", metric_heads=2)


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return models.load(folder)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    written = write_tiny_spatialvla(tmp_path_factory.mktemp("refinevla") / "tiny", depth=False, seed=1)
    return models.load(written, family="refinevla")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "checkpoint"))


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def refused(folder: Path, sentence: str, **settings: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        models.load(folder, **settings)
    assert "\n" not in str(raised.value)


def test_spec(policy: Policy, folder: Path) -> None:
    spec = policy.info
    assert (spec.family, spec.layers, spec.heads, spec.vision_layers, spec.vision_heads) == ("spatialvla", 3, 4, 2, 4)
    assert (spec.patch_grid, spec.image_size, spec.dtype, spec.cameras) == ((4, 4), (56, 56), "float32", ())
    assert spec.action_stats == ("bridge_orig/1.0.0",)
    assert spec.action_space is not None
    assert (spec.action_space.chunk, len(spec.action_space.names)) == (2, 7)
    assert spec.action_space.low[6] == 0
    assert all(low >= least - 1e-12 for low, least in zip(spec.action_space.low, LOW, strict=True))
    assert all(high <= most + 1e-12 for high, most in zip(spec.action_space.high, HIGH, strict=True))
    assert spec.notes["intrinsics"] == "bridge_orig/1.0.0"
    assert "never run" in spec.notes["auto_map"]
    assert models.alternatives(folder) == ("spatialvla", "refinevla")


def test_prompt_layout(policy: Policy) -> None:
    layout = policy.layout(replace(observation(), instruction="put the carrot on the plate"))
    assert [(span.part, span.name) for span in layout.spans] == [
        (Part.IMAGE, "image"),
        (Part.SPECIAL, "bos"),
        (Part.PROMPT, "prompt"),
        (Part.INSTRUCTION, "instruction"),
        (Part.PROMPT, "prompt"),
    ]
    words = "<bos> What action should the robot take to put the carrot on the plate ? \\n"
    assert layout.tokens[16:] == tuple(words.split(" "))
    assert layout.spans[0].grid is not None
    assert layout.spans[0].grid.box == (0.0, 0.0, 128.0, 96.0), "patches lie on the original frame, which is not square"


def test_one_token_a_translation_rotation_and_gripper(policy: Policy) -> None:
    prediction = policy.predict(observation())
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    written = [span for span in prediction.layout.spans if span.start >= prompt]
    assert [span.name for span in written] == [
        f"{kind} {step}" for step in range(2) for kind in ("translation", "rotation", "gripper")
    ]
    assert [text.split()[0] for text in prediction.layout.tokens[prompt:]] == ["move", "turn", "gripper"] * 2
    assert prediction.token_texts == tuple(
        (*VOCABULARY, *(f"<ACTION{number:05d}>" for number in range(SPATIAL_TOKENS)))[token]
        for token in prediction.tokens
    )
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    tokens = [(each.token, each.step, each.name) for each in prediction.action_distribution]
    places = (0, 0, 0, 1, 1, 1, 2)
    assert tokens == [
        (3 * step + place, step, name) for step in range(2) for place, name in zip(places, names, strict=True)
    ]


def test_a_token_of_another_kind_is_marked(policy: Policy) -> None:
    prediction = policy.predict(observation())
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    own = (range(FIRST, FIRST + 32), range(FIRST + 32, FIRST + 59), range(FIRST + 59, FIRST + 61))
    for index, token in enumerate(prediction.tokens):
        text = prediction.layout.tokens[prompt + index]
        assert text.endswith("(clipped)") == (token not in own[index % 3])


@pytest.mark.slow
def test_action_tokens_are_read_with_rows_of_their_own(folder: Path, copied: Path, policy: Policy) -> None:
    """What embed_tokens holds for action tokens makes no difference; what spatial_embed_tokens holds does."""
    seen, name = observation(), "language_model.model.embed_tokens.weight"
    before = policy.predict(seen)
    assert any(token >= FIRST for token in before.tokens[:-1]), "the test needs an action token that is read again"
    edit_weights(copied, lambda tensors: tensors[name][FIRST:].fill_(7))
    np.testing.assert_array_equal(models.load(copied).predict(seen).token_logprobs, before.token_logprobs)
    edit_weights(copied, lambda tensors: tensors["spatial_embed_tokens.weight"].fill_(0.1))
    assert not np.array_equal(models.load(copied).predict(seen).token_logprobs, before.token_logprobs)


def test_depth_lies_on_the_original_frame(policy: Policy) -> None:
    prediction = policy.predict(observation())
    (depth,) = prediction.depth
    assert depth.camera == "image"
    assert depth.metres.shape == (56, 56)
    assert depth.box == (0.0, 0.0, 128.0, 96.0)
    assert (depth.metres > 0).all()
    assert depth.metres.std() > 0


def test_without_depth(tmp_path: Path) -> None:
    folder = write_tiny_spatialvla(tmp_path, depth=False)
    policy = models.load(folder)
    assert policy.predict(observation()).depth == ()
    assert policy.info.notes["depth"] == "none: use_vision_zoe is false"


def test_depth_that_is_stored_but_not_used(copied: Path) -> None:
    edit(copied, "config.json", lambda config: config.update(use_vision_zoe=False))
    spec = models.load(copied).info
    assert set(spec.unused) == {"vision_zoe_model.*", "position_embedding_3d.*"}


@pytest.mark.slow
def test_intrinsics_are_those_of_the_data_set_or_the_default(tmp_path: Path) -> None:
    folder = write_tiny_spatialvla(tmp_path, data_sets=("bridge_orig/1.0.0", "kitchen"))
    refused(folder, "action_stats of bridge_orig/1.0.0, kitchen")
    refused(folder, "no action statistics 'bridge'; it has bridge_orig/1.0.0, kitchen", action_stats="bridge")
    space = models.inspect(folder).action_space
    assert space is not None
    assert space.low == ()
    bridge, kitchen = (models.load(folder, action_stats=key) for key in ("bridge_orig/1.0.0", "kitchen"))
    assert (bridge.info.notes["intrinsics"], kitchen.info.notes["intrinsics"]) == ("bridge_orig/1.0.0", "default")
    one, other = (each.predict(observation()) for each in (bridge, kitchen))
    np.testing.assert_array_equal(one.depth[0].metres, other.depth[0].metres)
    assert not np.array_equal(one.token_logprobs, other.token_logprobs)


def test_head_tied_to_the_embeddings(tmp_path: Path) -> None:
    folder = write_tiny_spatialvla(tmp_path, depth=False, tied=True)
    assert "language_model.lm_head.weight" not in load_file(folder / "model.safetensors")
    policy = models.load(folder)
    assert isinstance(policy, SpatialVLA)
    head = policy.model.language_model.lm_head.weight
    assert head.data_ptr() == policy.model.language_model.model.embed_tokens.weight.data_ptr()
    rows = load_file(folder / "model.safetensors")["spatial_embed_tokens.weight"]
    torch.testing.assert_close(head[-len(rows) :], rows)


@pytest.mark.slow
def test_a_tower_saved_by_newer_transformers(copied: Path, policy: Policy) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("vision_tower.vision_model.")]:
            tensors[name.replace("vision_tower.vision_model.", "vision_tower.")] = tensors.pop(name)

    edit_weights(copied, rename)
    ours, theirs = (each.predict(observation(), Capture(vision=True)) for each in (policy, models.load(copied)))
    np.testing.assert_array_equal(ours.token_logprobs, theirs.token_logprobs)


@pytest.mark.slow
def test_an_index_of_older_files_is_left_out(copied: Path, policy: Policy) -> None:
    name = "vision_zoe_model.backbone.encoder.layer.0.attention.attention.relative_position_bias"
    edit_weights(copied, lambda tensors: tensors.update({f"{name}.relative_position_index": torch.zeros(3)}))
    loaded = models.load(copied)
    assert loaded.info.unused == {"vision_zoe_model.*relative_position_index": "follows from the size of the image"}
    np.testing.assert_array_equal(
        loaded.predict(observation()).token_logprobs, policy.predict(observation()).token_logprobs
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(folder: Path, dtype: str) -> None:
    policy = models.load(folder, dtype=dtype)
    prediction = policy.predict(observation(), Capture())
    assert isinstance(policy, SpatialVLA)
    assert {each.dtype for each in policy.model.parameters()} == {getattr(torch, dtype)}
    assert np.isfinite(prediction.token_logprobs).all()
    assert np.isfinite(prediction.depth[0].metres).all()
    np.testing.assert_allclose(prediction.attention[0].weights.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_an_answer_that_ends_early_is_filled_up(tmp_path: Path) -> None:
    """As the published processor does: what is missing is id 0, clipped into each token's own range."""
    folder = write_tiny_spatialvla(tmp_path, depth=False)

    def eager_to_end(tensors: dict[str, torch.Tensor]) -> None:
        head = tensors["language_model.lm_head.weight"]
        first = int(models.load(folder).predict(observation()).tokens[1])
        head[EOS] = 1.5 * head[first]

    edit_weights(folder, eager_to_end)
    prediction = models.load(folder).predict(observation(), Capture(queries=tuple(Part)))
    assert EOS in prediction.tokens
    assert len(prediction.tokens) < 6
    assert prediction.tokens[-1] == EOS
    assert prediction.layout.spans[-1].part is Part.SPECIAL
    assert prediction.actions.shape == (2, 7)
    low = models.load(folder).info.action_space
    assert low is not None
    np.testing.assert_allclose(prediction.actions[-1][3:], low.low[3:])
    assert len(prediction.attention[0].produced) == len(prediction.tokens)


def test_words_come_after_the_actions(speaker: Policy, tmp_path: Path) -> None:
    prediction = speaker.predict(observation())
    assert speaker.info.generates_rationale
    assert len(prediction.tokens) > 6
    assert not {*prediction.tokens[6:]} & {*range(FIRST, FIRST + SPATIAL_TOKENS)}
    assert prediction.text
    folder = write_tiny_spatialvla(tmp_path, depth=False, seed=1)
    silent = models.load(folder).predict(observation())
    np.testing.assert_array_equal(silent.tokens, prediction.tokens[:6])
    assert (silent.text, silent.rationale) == ("", None)


def test_words_in_four_parts(speaker: Policy) -> None:
    said = Rationale({"text": "i see", "observation": "the carrot .", "situation": "it", "planning": "move : up"})
    prediction = speaker.predict(observation(), Capture(), force=said)
    prompt = len(prediction.layout.tokens) - len(prediction.tokens)
    assert prediction.text == "i see Observation : the carrot . Situation analysis : it Task planning : move : up"
    assert prediction.rationale is not None
    assert prediction.rationale.parts == said.parts
    assert prediction.rationale.author == speaker.info.digest
    words = [(span.part, span.name) for span in prediction.layout.spans if span.start >= prompt + 6]
    assert words == [
        (Part.RATIONALE, "text"),
        (Part.RATIONALE, "observation"),
        (Part.RATIONALE, "situation"),
        (Part.RATIONALE, "planning"),
        (Part.SPECIAL, "<eos>"),
    ]
    spoken = {*range(6, len(prediction.tokens) - 1)}
    assert spoken <= {*prediction.attention[0].produced}
    layout = prediction.layout
    span = next(span for span in layout.spans if span.name == "situation")
    assert layout.tokens[span.start : span.stop] == ("Situation", "analysis", ":", "it")


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (replace(observation(), images={}), r"has 0 \(none\)"),
        (replace(observation(), images=dict.fromkeys(("a", "b"), np.zeros((2, 2, 3), np.uint8))), r"has 2 \(a, b\)"),
        (replace(observation(), instruction="up " * 513), "instruction has 513 tokens; at most 512"),
        (replace(observation(), instruction="x" * 10_000), "instruction has 10000 characters; at most 4000"),
        (replace(observation(), instruction="up " * 40), r"prompt has 66 tokens and the answer 6, the policy has 56"),
        (replace(observation(), instruction="put <ACTION00003> down"), "contains '<ACTION00003>', which is a control"),
        (replace(observation(), instruction="put <image> down"), "contains '<image>', which is a control token"),
    ],
)
def test_refuses_what_it_cannot_read(policy: Policy, seen: Observation, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        policy.predict(seen)


@pytest.mark.parametrize("force", ["<ACTION00003> up", "up <eos>", "up " * 40])
def test_refuses_a_rationale(speaker: Policy, force: str) -> None:
    with pytest.raises(UserError, match=r"control token|positions"):
        speaker.predict(observation(), force=force)


@pytest.mark.parametrize(
    "key",
    [
        *("image_token_index", "action_token_begin_idx", "spatial_token_num", "use_spatial_token", "use_vision_zoe"),
        *("ego3d_patch_reso", "n_freqs", "projection_dim", "text_config", "vision_config", "vision_zoe_config"),
    ],
)
def test_a_field_that_is_missing_is_named(copied: Path, key: str) -> None:
    """Defaults of the published code differ from published files, so none is taken."""
    edit(copied, "config.json", lambda config: config.pop(key))
    refused(copied, f"config.json: {key} is missing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("processor_config.json", lambda p: p.pop("statistics"), "processor_config.json: statistics is missing"),
        ("processor_config.json", lambda p: p.pop("action_chunk_size"), "action_chunk_size is missing"),
        ("processor_config.json", lambda p: p.pop("intrinsic_config"), "intrinsic_config is missing"),
        ("processor_config.json", lambda p: p.update(intrinsic_config={"x": {}}), r"x.intrinsic is None, expected 3 x"),
        (
            "processor_config.json",
            lambda p: p["intrinsic_config"]["default"].update(intrinsic=[[0] * 3] * 3),
            "expected 3 x 3 numbers, invertible",
        ),
        (
            "processor_config.json",
            lambda p: p.update(intrinsic_config={"x": INTRINSICS["default"]}),
            "intrinsic_config has neither 'bridge_orig/1.0.0' nor 'default'; it has x",
        ),
        (
            "processor_config.json",
            lambda p: p["statistics"]["bridge_orig/1.0.0"]["action"]["q01"].pop(),
            "q01 has 6 values, expected 7",
        ),
        (
            "processor_config.json",
            lambda p: p["action_config"]["num_bins"].update(gripper=3),
            "makes 62 action tokens, config.json: spatial_token_num has 61",
        ),
        ("config.json", lambda c: c.update(ego3d_patch_reso=4), "ego3d_patch_reso is 4, which does not divide patches"),
        ("config.json", lambda c: c.update(action_token_begin_idx=70), "tokenizer has <ACTION00000> at"),
        ("config.json", lambda c: c["text_config"].update(num_key_value_heads="two"), "does not describe a part of"),
        ("config.json", lambda c: c["text_config"].update(hidden_size=32), "config.json asks for"),
        ("config.json", lambda c: c["vision_zoe_config"].update(bin_configurations=3), "does not describe a part of"),
    ],
)
def test_files_that_do_not_fit(
    copied: Path, name: str, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    refused(edit(copied, name, change), sentence)


def test_side_files_that_are_missing(copied: Path) -> None:
    (copied / "preprocessor_config.json").unlink()
    refused(copied, "has no preprocessor_config.json, which holds the image settings")
    (copied / "processor_config.json").unlink()
    refused(copied, "has no processor_config.json, which holds the action grids and statistics")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "spatial_embed_tokens.weight",
        "position_embedding_3d.position_embedding_head.3.bias",
        "multi_modal_projector.linear.bias",
        "language_model.lm_head.weight",
        "vision_tower.vision_model.post_layernorm.bias",
        "vision_zoe_model.backbone.encoder.layer.1.attention.attention.query.weight",
        "vision_zoe_model.metric_head.mlp_classifier.linear2.bias",
    ],
)
def test_a_tensor_that_is_missing_is_named(copied: Path, name: str) -> None:
    edit_weights(copied, lambda tensors: tensors.pop(name))
    refused(copied, f"weights lack the tensor .*{name.rsplit('.', 1)[-1]}")


def test_a_tensor_that_belongs_nowhere_is_named(copied: Path) -> None:
    edit_weights(copied, lambda tensors: tensors.update({"vision_zoe_model.extra": torch.zeros(2)}))
    refused(copied, "hold the tensor vision_zoe_model.extra, which belongs nowhere")


def test_rows_for_action_tokens_of_another_size(copied: Path) -> None:
    name = "spatial_embed_tokens.weight"
    edit_weights(copied, lambda tensors: tensors.update({name: tensors[name][:-1].clone()}))
    refused(copied, r"spatial_embed_tokens.weight has shape \[60, 64\], config.json asks for \[61, 64\]")
