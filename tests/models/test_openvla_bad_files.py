"""OpenVLA checkpoints that cannot be used: one sentence that names what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models.errors import UserError
from models.types import Observation
from tests.contracts.policy_cases import observation
from tests.tiny_openvla import write_openvla


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_openvla(tmp_path / "it")


def change(folder: Path, name: str, **entries: Any) -> None:
    file = folder / name
    content = json.loads(file.read_text()) | entries
    file.write_text(json.dumps({key: value for key, value in content.items() if value != "left out"}))


def change_text(folder: Path, **entries: Any) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    change(folder, "config.json", text_config=text | entries)


def change_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


LOST = (
    "projector.fc3.weight projector.fc1.bias language_model.lm_head.weight language_model.model.norm.weight "
    "language_model.model.embed_tokens.weight language_model.model.layers.2.mlp.up_proj.weight "
    "vision_backbone.featurizer.cls_token vision_backbone.featurizer.blocks.1.ls2.scale_factor "
    "vision_backbone.fused_featurizer.pos_embed vision_backbone.fused_featurizer.blocks.2.attn.proj.bias"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOST.split())
def test_a_lost_tensor_is_named(name: str, folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(UserError, match=f"lack the tensor {name}"):
        models.load(folder)


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({"projector.fc2.weight": torch.zeros(64, 200)}))
    with pytest.raises(UserError, match=r"projector\.fc2\.weight has shape \[64, 200\]"):
        models.load(folder)


@pytest.mark.parametrize("name", ["projector.fc4.weight", "vision_backbone.other.bias", "value_head.weight"])
def test_a_tensor_too_many_is_named(name: str, folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({name: torch.zeros(3)}))
    with pytest.raises(UserError, match=f"the tensor {name}, which belongs nowhere"):
        models.load(folder)


def test_unused_tensors_may_be_absent(folder: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".attn_pool." in name or "featurizer.norm." in name]:
            del tensors[name]

    change_tensors(folder, drop)
    assert models.load(folder).predict(observation()).actions.shape == (1, 7)


def test_a_second_tower_that_is_not_asked_for_is_left_over(folder: Path) -> None:
    change(folder, "config.json", use_fused_vision_backbone=False)
    with pytest.raises(UserError, match=r"projector\.|fused_featurizer|prepares 2 images"):
        models.load(folder)


CONFIGS = [
    ({"timm_model_ids": "left out"}, "timm_model_ids is missing, expected a list of strings"),
    ({"timm_model_ids": ["vit_small_patch14_reg4_dinov2"]}, "timm_model_ids is .*, expected 2, one for each vision"),
    ({"image_sizes": [70.5, 70]}, "image_sizes is .*, expected whole numbers of at least 1"),
    ({"image_sizes": [70]}, "image_sizes is .*, expected 2"),
    ({"image_sizes": [84, 70]}, "pos_embed has 25 positions; images of 84 pixels"),
    ({"timm_override_act_layers": ["mish", None]}, "'mish'; the activations known here are"),
    ({"timm_override_act_layers": [1, None]}, "expected names or null"),
    ({"n_action_bins": 1}, "n_action_bins is 1, expected a whole number of at least 2"),
    ({"n_action_bins": 40000}, "no ids are left for words"),
    ({"pad_to_multiple_of": "64"}, "pad_to_multiple_of is '64', expected a whole number"),
    ({"norm_stats": "left out"}, "norm_stats is empty and there is no dataset_statistics.json"),
    ({"norm_stats": {"a": {"action": {"q01": [0]}}}}, "q99 is missing"),
    ({"norm_stats": {"a": {"action": {"q01": [0], "q99": [1, 2]}}}}, "q99 has 2 values, expected 1"),
    ({"norm_stats": {"a": {"action": {"q01": [0], "q99": [1], "mask": [1]}}}}, "mask is .*expected 1 times true or"),
    ({"norm_stats": {"a": {}}}, "norm_stats.a action is missing|norm_stats.a.action is missing"),
    ({"use_fused_vision_backbone": "yes"}, "use_fused_vision_backbone is 'yes', expected true or false"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("entries", "message"), CONFIGS)
def test_a_configuration_that_makes_no_sense(entries: dict, message: str, folder: Path) -> None:
    change(folder, "config.json", **entries)
    with pytest.raises(UserError, match=message):
        models.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "qwen2"}, "text_config.model_type is 'qwen2'; an OpenVLA's language model is expected"),
        ({"vocab_size": 100}, "vocab_size is 100, expected a whole number of at least 29872"),
        ({"hidden_size": 48}, "has shape .*config.json asks for|does not describe a Llama"),
        ({"num_hidden_layers": 4}, r"lack the tensor language_model\.model\.layers\.3\."),
        ({"num_hidden_layers": 2}, r"layers\.2\..*which belongs nowhere"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is true"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0, expected"),
    ],
)
def test_a_language_model_that_does_not_fit(entries: dict, message: str, folder: Path) -> None:
    change_text(folder, **entries)
    with pytest.raises(UserError, match=message):
        models.load(folder)


def test_too_few_positions(folder: Path) -> None:
    change_text(folder, max_position_embeddings=48)
    with pytest.raises(UserError, match="the policy has 48 positions; use a shorter instruction"):
        models.load(folder).predict(observation())


def test_only_the_sentencepiece_file(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(UserError, match=r"has tokenizer\.model, but not tokenizer\.json; make it with"):
        models.load(folder)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        models.load(folder)


def test_images_of_another_size(folder: Path) -> None:
    change(folder, "preprocessor_config.json", tvf_crop_params=[{"output_size": [56, 56]}] * 2)
    with pytest.raises(
        UserError, match=r"makes images of 56 x 56 pixels; vit_small_patch14_reg4_dinov2.* takes 70 x 70"
    ):
        models.load(folder).predict(observation())


def test_images_for_another_number_of_towers(folder: Path) -> None:
    change(folder, "preprocessor_config.json", input_sizes=[[3, 70, 70]])
    with pytest.raises(UserError, match=r"prepares 1 images, config\.json has 2 vision towers"):
        models.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("put </s> on the plate", "'</s>', which is a control token"),
        ("word " * 600, "the instruction has 600 tokens; at most 512"),
        ("x" * 5000, "5000 characters; at most 4000"),
    ],
)
def test_instructions_that_cannot_be_read(instruction: str, message: str, folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        models.load(folder).predict(Observation(observation().images, instruction))


def test_one_camera_only(folder: Path) -> None:
    frame = observation().images["image"]
    with pytest.raises(UserError, match=r"reads one image, the observation has 2 \(left, right\)"):
        models.load(folder).predict(Observation({"left": frame, "right": frame}, "put"))
    layout = models.load(folder).layout(Observation({"wrist": frame}, "put"))
    assert layout.spans[1].name == "wrist"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("action_head--150000_checkpoint.pt",), r"action_head--150000_checkpoint\.pt \(the head.*never opened here"),
        (
            ("action_head--150000_checkpoint.pt",),
            r"convert .* to action_head--150000_checkpoint\.safetensors, with the",
        ),
        (("vision_backbone--5_checkpoint.pt",), r"vision_backbone--5_checkpoint\.pt \(the vision tower with its FiLM"),
        (
            ("action_head--1_checkpoint.pt", "proprio_projector--1_checkpoint.pt"),
            r"proprio_projector--1_checkpoint\.pt \(the projector that reads proprioception\); it cannot be opened",
        ),
        (("proprio_projector.safetensors",), r"it has no action_head\*\.safetensors, and action tokens in parallel"),
    ],
)
def test_heads_of_openvla_oft_are_never_ignored(files: tuple[str, ...], message: str, folder: Path) -> None:
    for name in files:
        (folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=message):
        models.load(folder)
    assert "cannot be opened" in models.inspect(folder).notes["heads"]
