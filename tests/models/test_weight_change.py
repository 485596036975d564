from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.errors import UserError
from models.tensor_names import Place, canonical, place
from models.weight_change import weight_change

NAMES = {
    "vision_tower.encoder.layers.0.self_attn.q_proj.weight": (2, 2),
    "multi_modal_projector.linear.weight": (2, 2),
    "language_model.model.embed_tokens.weight": (4, 2),
    "language_model.model.layers.0.mlp.up_proj.weight": (2, 2),
    "language_model.model.layers.1.mlp.up_proj.weight": (2, 2),
    "language_model.model.layers.1.input_layernorm.weight": (2,),
    "language_model.model.norm.weight": (2,),
}


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "paligemma"}))
    save_file(tensors, folder / "model.safetensors")
    return folder


def ones() -> dict[str, torch.Tensor]:
    return {name: torch.ones(shape) for name, shape in NAMES.items()}


def test_hand_worked(tmp_path: Path) -> None:
    """Layer 1: four ones of which one becomes 3, and a norm of two ones: ||change|| = 2, ||base|| = sqrt(6)."""
    changed = ones()
    changed["language_model.model.layers.1.mlp.up_proj.weight"][0, 1] = 3
    found = weight_change(write(tmp_path / "base", ones()), write(tmp_path / "tuned", changed))
    assert [group.label for group in found.groups] == [
        "vision 0", "projector", "embeddings", "language", "language 0", "language 1",
    ]  # fmt: skip
    layer = found.groups[-1]
    assert layer.relative == pytest.approx(2 / np.sqrt(6))
    assert (layer.largest, layer.tensors, layer.identical, layer.parameters) == (2.0, 2, 1, 6)
    assert found.unchanged == ("vision 0", "projector", "embeddings", "language", "language 0")
    assert all(group.relative == 0 for group in found.groups[:-1])


def test_spelling_and_number_type_may_differ(tmp_path: Path) -> None:
    hub = {
        name.replace("vision_tower.", "vision_tower.vision_model."): tensor.to(torch.bfloat16)
        for name, tensor in ones().items()
    }
    hub["language_model.model.norm.weight"] *= 1.5
    found = weight_change(write(tmp_path / "base", ones()), write(tmp_path / "hub", hub))
    norm = next(group for group in found.groups if group.label == "language")
    assert (norm.relative, norm.largest) == (0.5, 0.5)
    assert len(found.unchanged) == len(found.groups) - 1


def test_from_nothing_to_something_is_infinite(tmp_path: Path) -> None:
    zero, one = (
        {"multi_modal_projector.linear.bias": torch.zeros(2)},
        {"multi_modal_projector.linear.bias": torch.ones(2)},
    )
    assert weight_change(write(tmp_path / "base", zero), write(tmp_path / "tuned", one)).groups[0].relative == np.inf


def test_refuses_other_shapes_and_names(tmp_path: Path) -> None:
    base = write(tmp_path / "base", ones())
    wider = ones()
    wider["language_model.model.embed_tokens.weight"] = torch.ones(5, 2)
    with pytest.raises(UserError, match=r"language_model.embed_tokens.weight has shape \[4, 2\].*\[5, 2\]"):
        weight_change(base, write(tmp_path / "wider", wider))
    fewer = ones()
    del fewer["multi_modal_projector.linear.weight"]
    with pytest.raises(UserError, match=r"base has multi_modal_projector.linear.weight.*fewer does not"):
        weight_change(base, write(tmp_path / "fewer", fewer))


@pytest.mark.parametrize(
    ("name", "one_spelling", "where"),
    [
        ("model.language_model.layers.7.mlp.up_proj.weight", "language_model.layers.7.mlp.up_proj.weight",
         Place("language", 7)),
        ("language_model.lm_head.weight", "lm_head.weight", Place("head")),
        ("vision_tower.vision_model.encoder.layers.12.mlp.fc1.bias", "vision_tower.encoder.layers.12.mlp.fc1.bias",
         Place("vision", 12)),
        ("model.vision_tower.post_layernorm.weight", "vision_tower.post_layernorm.weight", Place("vision")),
        ("vision_zoe_model.x", "vision_zoe_model.x", Place("depth")),
    ],
)  # fmt: skip
def test_names(name: str, one_spelling: str, where: Place) -> None:
    assert canonical(name) == one_spelling
    assert place(one_spelling) == where


def test_a_head_that_tuning_untied_is_compared_with_the_embeddings(tmp_path: Path) -> None:
    untied = ones() | {"lm_head.weight": torch.full((4, 2), 1.5)}
    found = weight_change(write(tmp_path / "base", ones()), write(tmp_path / "tuned", untied))
    head = next(group for group in found.groups if group.label == "head")
    assert (head.relative, head.largest, head.tensors) == (0.5, 0.5, 1)
    assert "embeddings" in found.unchanged


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("vision_backbone.fused_featurizer.blocks.3.attn.qkv.weight", "vision 3"),  # OpenVLA
        ("projector.fc2.bias", "projector"),
        ("vision_zoe_model.backbone.encoder.layer.2.attention.attention.query.weight", "depth"),  # SpatialVLA
        ("position_embedding_3d.position_embedding_head.0.weight", "depth"),
        ("spatial_embed_tokens.weight", "embeddings"),
        ("paligemma_with_expert.paligemma.model.language_model.layers.5.mlp.up_proj.weight", "language 5"),  # pi0
        ("paligemma_with_expert.paligemma.model.vision_tower.vision_model.encoder.layers.1.mlp.fc1.bias", "vision 1"),
        ("paligemma_with_expert.gemma_expert.model.layers.4.self_attn.q_proj.weight", "action expert 4"),
        ("action_time_mlp_in.weight", "action expert"),
        ("model.vlm_with_expert.vlm.model.text_model.layers.7.mlp.up_proj.weight", "language 7"),  # SmolVLA
        ("model.vlm_with_expert.vlm.model.connector.modality_projection.proj.weight", "projector"),
        ("model.vlm_with_expert.lm_expert.layers.2.self_attn.k_proj.weight", "action expert 2"),
        ("model.state_proj.weight", "action expert"),
        ("visual.blocks.6.attn.qkv.weight", "vision 6"),  # Qwen2-VL
        ("visual.merger.mlp.0.weight", "projector"),
        ("model.layers.9.self_attn.q_proj.weight", "language 9"),
        ("model.norm.weight", "language"),
        ("model.text_model.layers.3.mlp.up_proj.weight", "language 3"),  # Idefics3
    ],
)
def test_places_of_other_families(name: str, label: str) -> None:
    assert place(canonical(name)).label == label


def test_an_adapter_is_its_base_and_what_it_adds(tmp_path: Path) -> None:
    """Scale 2 / 1 times B A with B = [1, 0], A = [0, 3]: one weight of layer 0 grows by 6."""
    base = write(tmp_path / "base", ones())
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "lora_alpha": 2, "base_model_name_or_path": "lab/base"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    module = "base_model.model.language_model.model.layers.0.mlp.up_proj"
    sides = {
        f"{module}.lora_A.weight": torch.tensor([[0.0, 3.0]]),
        f"{module}.lora_B.weight": torch.tensor([[1.0], [0]]),
    }
    save_file(sides, adapter / "adapter_model.safetensors")
    changed = [group for group in weight_change(base, adapter).groups if group.identical < group.tensors]
    assert [(group.label, group.largest, group.relative) for group in changed] == [("language 0", 6.0, 3.0)]
