"""Weights into modules, strictly: what is read, what is refused, and how little memory it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import models
from benchmarks import loading
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.weights import Weights, fill, without_weights
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 4, bias=False), nn.Linear(4, 2)
        self.register_buffer("scale", torch.tensor([2.0]))
        self.register_buffer("steps", torch.arange(5), persistent=False)


@pytest.fixture
def stored() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "tower.a.weight": torch.randn(4, 3).bfloat16(),
        "tower.b.weight": torch.randn(2, 4, dtype=torch.float16),
        "tower.b.bias": torch.randn(2, dtype=torch.float64),
        "tower.scale": torch.tensor([3.0]),
    }


PLACES = {
    "tower.a.weight": "inner.weight",
    "tower.b.weight": "outer.weight",
    "tower.b.bias": "outer.bias",
    "tower.scale": "scale",
}


def weights(folder: Path, tensors: dict[str, torch.Tensor], dtype: str = "float32") -> Weights:
    (folder / "config.json").write_text("{}")
    save_file(tensors, folder / "model.safetensors")
    return Weights(CheckpointFiles(folder, folder), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_number_type_becomes_the_one_asked_for(
    tmp_path: Path, stored: dict[str, torch.Tensor], dtype: str
) -> None:
    tower = without_weights(Tower)
    fill(tower, weights(tmp_path, stored, dtype), PLACES, {})
    for name, place in PLACES.items():
        expected = stored[name].to(getattr(torch, dtype))
        torch.testing.assert_close(tower.get_submodule("").state_dict()[place], expected, rtol=0, atol=0)
    assert tower.steps.tolist() == [0, 1, 2, 3, 4], "buffers that are not stored keep their values"
    assert all(not weight.requires_grad for weight in tower.parameters())


def test_whole_numbers_stay_whole(tmp_path: Path, stored: dict[str, torch.Tensor]) -> None:
    stored["tower.scale"] = torch.tensor([7])
    tower = without_weights(Tower)
    fill(tower, weights(tmp_path, stored), PLACES, {})
    assert tower.scale.dtype == torch.int64


def test_every_tensor_is_used_or_left_out_on_purpose(tmp_path: Path, stored: dict[str, torch.Tensor]) -> None:
    stored |= {"head.0.weight": torch.zeros(1), "head.1.weight": torch.zeros(1)}
    given = weights(tmp_path, stored)
    with pytest.raises(UserError, match=r"hold the tensor head\.0\.weight \(and 1 more\), which belongs nowhere"):
        fill(without_weights(Tower), given, PLACES, {})
    with pytest.raises(UserError, match=r"hold the tensor head\.1\.weight, which belongs nowhere"):
        fill(without_weights(Tower), given, PLACES, {"head.0.*": "the last block is not needed"})
    fill(without_weights(Tower), given, PLACES, {"head.*": "no head is needed"})


def test_a_missing_or_misshapen_tensor_is_named_as_it_is_stored(
    tmp_path: Path, stored: dict[str, torch.Tensor]
) -> None:
    without_bias = {name: value for name, value in stored.items() if name != "tower.b.bias"}
    with pytest.raises(UserError, match=r"lack the tensor tower\.b\.bias"):
        fill(without_weights(Tower), weights(tmp_path, without_bias), PLACES, {})
    with pytest.raises(UserError, match=r"tower\.b\.bias has shape \[3\], config.json asks for \[2\]"):
        fill(without_weights(Tower), weights(tmp_path, stored | {"tower.b.bias": torch.zeros(3)}), PLACES, {})


def test_a_number_type_that_is_not_known_is_refused(tmp_path: Path, stored: dict[str, torch.Tensor]) -> None:
    stored["tower.scale"] = torch.zeros(1).to(torch.float8_e4m3fn)
    with pytest.raises(UserError, match=r"tower\.scale is stored as F8_E4M3; known are"):
        fill(without_weights(Tower), weights(tmp_path, stored), PLACES, {})
    stored["tower.scale"] = torch.zeros(1)
    stored["tower.b.bias"] = torch.zeros(2, dtype=torch.int8)
    with pytest.raises(UserError, match=r"tower\.b\.bias is stored as I8, expected .*; quantised weights are not read"):
        fill(without_weights(Tower), weights(tmp_path, stored), PLACES, {})
    with pytest.raises(UserError, match="dtype 'int4' is not known; use one of float32, bfloat16, float16"):
        weights(tmp_path, stored, "int4")
    with pytest.raises(UserError, match="the device 'abacus' cannot be used here"):
        Weights(CheckpointFiles(tmp_path, tmp_path), device="abacus")


@pytest.mark.slow
def test_a_head_stored_without_the_embeddings_it_is_tied_to(tmp_path: Path) -> None:
    folder = write_action_token_paligemma(tmp_path, rationale=False)
    expected = models.load(folder).predict(observation())
    tensors = load_file(folder / "model.safetensors")
    tensors["language_model.lm_head.weight"] = tensors.pop("language_model.model.embed_tokens.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert models.load(folder).predict(observation()).token_logprobs.tolist() == expected.token_logprobs.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loading_takes_little_more_than_the_weights(tmp_path: Path, dtype: str) -> None:
    loading.write(tmp_path, width=768)
    found = loading.measure("ours", tmp_path, dtype)
    assert found["weights"] > 100, "too small to tell"
    assert found["peak"] <= loading.TARGET * found["weights"]
