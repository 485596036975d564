"""LoRA adapters as peft writes them, against peft's own merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PaliGemmaForConditionalGeneration

import models
from models.errors import UserError
from models.types import Capture
from tests.contracts.policy_cases import observation
from tests.tiny_checkpoints import write_action_token_paligemma

peft = pytest.importorskip("peft")

LINEAR = ["q_proj", "down_proj", "patch_embedding", "embed_tokens"]
KINDS = {
    "plain": {"target_modules": LINEAR[:2]},
    "every kind of layer": {"target_modules": LINEAR},
    "rank-stabilised": {"target_modules": LINEAR[:2], "use_rslora": True},
    "ranks and alphas by name": {
        "target_modules": LINEAR[:2],
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 64},
    },
    "a module saved whole": {"target_modules": LINEAR[:1], "modules_to_save": ["linear"]},
    "trained biases": {"target_modules": ["fc1"], "bias": "lora_only"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_action_token_paligemma(tmp_path_factory.mktemp("adapters") / "base", rationale=True)


def write_adapter(base: Path, folder: Path, **settings: object) -> tuple[Path, Path]:
    """An adapter with random weights, and the checkpoint that peft makes of it and its base."""
    settings = {"r": 4, "lora_alpha": 16} | settings
    model = PaliGemmaForConditionalGeneration.from_pretrained(base)
    tuned = peft.get_peft_model(model, peft.LoraConfig(**settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.2)
    tuned.save_pretrained(folder / "adapter")
    merged = folder / "merged"
    tuned.merge_and_unload().save_pretrained(merged)
    for file in base.glob("*.json"):
        if file.name != "config.json":
            (merged / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "config.json").read_text())
    (merged / "config.json").write_text(json.dumps(config))
    return folder / "adapter", merged


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_equals_what_peft_merges(base: Path, tmp_path: Path, kind: str) -> None:
    adapter, merged = write_adapter(base, tmp_path, **KINDS[kind])
    ours = models.load(adapter, base=base).predict(observation(), Capture())
    theirs = models.load(merged).predict(observation(), Capture())
    alone = models.load(base).predict(observation(), Capture())
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)
    np.testing.assert_allclose(ours.token_logprobs, theirs.token_logprobs, atol=1e-4)
    np.testing.assert_allclose(ours.attention[0].weights, theirs.attention[0].weights, atol=1e-5)
    same_tokens = np.array_equal(ours.tokens, alone.tokens)
    assert not same_tokens or not np.allclose(ours.token_logprobs, alone.token_logprobs, atol=1e-3)


@pytest.mark.slow
def test_the_base_is_found_beside_the_adapter(base: Path, tmp_path: Path) -> None:
    adapter, _ = write_adapter(base, tmp_path, **KINDS["plain"])
    with pytest.raises(UserError, match=r"needs the LoRA adapter's base model, .*put a copy of that model at"):
        models.inspect(adapter)
    named = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(named | {"base_model_name_or_path": "some-lab/the-base"}))
    shutil.copytree(base, tmp_path / "the-base")
    beside = models.inspect(adapter)
    assert beside.path == str(adapter)
    assert beside.layers == models.inspect(base).layers
    assert beside.digest not in (models.inspect(base).digest, models.inspect(tmp_path / "merged").digest)
    assert beside.digest == models.inspect(adapter, base=base).digest


@pytest.mark.slow
def test_the_base_is_found_inside_the_adapter_and_by_a_path_that_stays_near(base: Path, tmp_path: Path) -> None:
    adapter, merged = write_adapter(base, tmp_path, **KINDS["plain"])
    (adapter / "backbone").symlink_to(merged, target_is_directory=True)
    for path in ("backbone", str(adapter / "backbone"), str(merged), "../merged"):
        named = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": path}
        (adapter / "adapter_config.json").write_text(json.dumps(named))
        assert models.inspect(adapter).layers == models.inspect(base).layers


def test_a_base_elsewhere_is_not_followed(base: Path, tmp_path: Path) -> None:
    adapter, _ = write_adapter(base, tmp_path, **KINDS["plain"])
    for path in (str(base), "../../etc", "..", ""):
        named = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": path}
        (adapter / "adapter_config.json").write_text(json.dumps(named))
        with pytest.raises(UserError, match="which is not beside it"):
            models.load(adapter)


@pytest.mark.slow
def test_dora_is_refused(base: Path, tmp_path: Path) -> None:
    adapter, _ = write_adapter(base, tmp_path, target_modules=["q_proj"], use_dora=True)
    with pytest.raises(UserError, match="is a DoRA adapter; only plain LoRA is read"):
        models.load(adapter, base=base)


def test_pickled_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    adapter, _ = write_adapter(base, tmp_path, **KINDS["plain"])
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model.bin, a pickle,.*safe_serialization=True"):
        models.load(adapter, base=base)


@pytest.mark.slow
def test_a_tensor_that_fits_nothing_is_named(base: Path, tmp_path: Path) -> None:
    adapter, _ = write_adapter(base, tmp_path, **KINDS["plain"])
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    stray = "base_model.model.model.language_model.layers.7.self_attn.q_proj.lora_A.weight"
    save_file(tensors | {stray: torch.zeros(4, 64)}, file)
    with pytest.raises(UserError, match=r"has the tensor .*layers\.7.*which fits nothing in the base"):
        models.load(adapter, base=base)
    name = next(name for name in tensors if "lora_B" in name)
    save_file({key: value for key, value in tensors.items() if key != name}, file)
    with pytest.raises(UserError, match="lacks lora_B of"):
        models.load(adapter, base=base)
    save_file(tensors | {name: torch.zeros(3, 4)}, file)
    with pytest.raises(UserError, match=r"lora_B.* has shape \[3, 4\]"):
        models.load(adapter, base=base)
