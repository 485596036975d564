"""Every way a folder can fail to be a checkpoint gives one sentence that names what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from models.checkpoint import digest
from models.errors import UserError
from models.registry import FAMILIES
from tests.tiny_checkpoints import write_action_token_paligemma

WEIGHT = "language_model.model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_action_token_paligemma(tmp_path_factory.mktemp("good") / "it", rationale=True)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "checkpoint"))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def refused(folder: Path, sentence: str, **settings: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        models.load(folder, **settings)
    assert "\n" not in str(raised.value)


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere does not exist")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "file is a file; a checkpoint is a folder")


def test_no_checkpoint(tmp_path: Path) -> None:
    refused(tmp_path, r"is not a checkpoint: it has no config.json \(found nothing\)")
    (tmp_path / "episode.hdf5").write_text("")
    refused(tmp_path, r"found episode.hdf5")


def test_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')
    refused(folder, "config.json is not valid JSON")
    (folder / "config.json").write_text("[]")
    refused(folder, "holds a JSON list, expected an object")
    (folder / "config.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    refused(folder, "config.json is a Git LFS pointer, not the file itself")


def test_unknown_kind(folder: Path) -> None:
    edit_config(folder, lambda config: config.update(model_type="t5"))
    refused(folder, "model_type is 't5'; the kinds that can be opened are paligemma")
    refused(folder, "no model family 'gpt'", family="gpt")


def test_a_config_that_describes_no_model(folder: Path) -> None:
    edit_config(folder, lambda config: config["text_config"].update(num_key_value_heads="two"))
    refused(folder, "config.json does not describe a PaliGemma")


def test_more_layers_than_there_are_tensors(folder: Path) -> None:
    edit_config(folder, lambda config: config["text_config"].update(num_hidden_layers=1_000_000))
    refused(folder, r"asks for 1000000 layers and \d of the vision tower; the weights have \d+ tensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickle_is_never_opened(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, rf"only as pickle \({name}\).*save_pretrained\(safe_serialization=True\)")


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, "has no weights")


@pytest.mark.parametrize("length", [0, 5, 400, 20_000, -1])
def test_truncated_weights(folder: Path, length: int) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:length])
    refused(folder, "model.safetensors is truncated")


def test_weights_that_are_none(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    refused(folder, "Git LFS pointer")
    (folder / "model.safetensors").write_bytes((20).to_bytes(8, "little") + b"this is not a header")
    refused(folder, "its header cannot be read")


def test_missing_tensor(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.pop(WEIGHT))
    refused(folder, r"weights lack the tensor model.language_model.layers.1.mlp.up_proj.weight")


def test_missing_embeddings(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.pop("language_model.model.embed_tokens.weight"))
    refused(folder, "weights lack the tensor")


def test_wrong_shape(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.update({WEIGHT: torch.zeros(10, 64)}))
    refused(folder, r"layers.1.mlp.up_proj.weight has shape \[10, 64\], config.json asks for \[128, 64\]")


def test_unexpected_tensor(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.update({"language_model.model.extra": torch.zeros(2)}))
    refused(folder, "hold the tensor language_model.model.extra, which belongs nowhere")


@pytest.mark.slow
def test_missing_shard(tmp_path: Path) -> None:
    folder = write_action_token_paligemma(tmp_path / "sharded", rationale=False, shard="300KB")
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    assert models.load(folder).info.parameters == models.inspect(folder).parameters
    shards[1].unlink()
    refused(folder, rf"is incomplete: .* names {shards[1].name}")


def test_links_must_stay_inside(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)
    refused(folder, "leads out of the checkpoint")


def test_an_index_must_stay_inside(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {WEIGHT: "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "leads out of the checkpoint")


def test_a_hub_cache_is_inside(good: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x" / "snapshots" / "abc", tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(good, blobs)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(Path("../../blobs") / blob.name)
    assert models.load(snapshot).info.digest == digest(good)


def test_code_of_the_checkpoint_is_not_run(folder: Path) -> None:
    (folder / "modeling_evil.py").write_text("raise SystemExit('this ran')")
    edit_config(folder, lambda config: config.update(auto_map={"AutoModel": "modeling_evil.Evil"}))
    assert "never run" in models.load(folder).info.notes["auto_map"]


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, "cannot be read as a tokenizer")
    (folder / "tokenizer.json").unlink()
    refused(folder, "has no tokenizer.json")


def test_a_token_that_is_not_there(folder: Path) -> None:
    edit_config(folder, lambda config: config["vla"]["action"].update(begin="<go>"))
    refused(folder, "vla.action.begin names the token '<go>', which the tokenizer does not have")


def test_bins_beyond_the_vocabulary(folder: Path) -> None:
    edit_config(folder, lambda config: config["vla"]["action"].update(bins=4000))
    refused(folder, "vla.action.first_token needs 4000 tokens")


def test_a_prompt_without_its_state(folder: Path) -> None:
    edit_config(folder, lambda config: config["vla"].update(prompt="{instruction}"))
    refused(folder, "expected {instruction}, and {state} exactly where")


def test_images_of_another_size(folder: Path) -> None:
    from tests.contracts.policy_cases import observation

    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["size"] = {"height": 64, "width": 64}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="images of 64 x 64 pixels, the vision tower takes 128 x 128"):
        models.load(folder).predict(observation())


def test_without_actions(folder: Path) -> None:
    edit_config(folder, lambda config: config.pop("vla"))
    assert models.inspect(folder).family == "vlm"
    assert models.inspect(folder).action_space is None
    refused(folder, "no section vla in config.json", family="paligemma")


def test_several_data_sets_are_never_guessed(tmp_path: Path) -> None:
    folder = write_action_token_paligemma(tmp_path / "it", rationale=False, norm_stats=("bridge", "fractal"))
    space = models.inspect(folder).action_space
    assert space is not None
    assert space.low == ()
    refused(folder, "action_stats of bridge, fractal")
    refused(folder, "no action statistics 'droid'; it has bridge, fractal", action_stats="droid")
    chosen = models.load(folder, action_stats="fractal").info.action_space
    assert chosen is not None
    assert chosen.high[-1] == 1.0


def test_device_and_dtype(folder: Path) -> None:
    refused(folder, "device 'tpu-9' cannot be used here", device="tpu-9")
    refused(folder, "dtype 'int7' is not known; use one of float32", dtype="int7")


def test_digest_follows_what_changes_a_checkpoint(folder: Path) -> None:
    before = digest(folder)
    (folder / "README.md").write_text("notes do not count")
    assert digest(folder) == before == models.inspect(folder).digest
    assert models.inspect(folder, known_digest="kept").digest == "kept"
    edit_weights(folder, lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT] + 1}))
    assert digest(folder) != before


def test_every_registered_function_can_be_imported() -> None:
    from models.registry import function

    for family in FAMILIES.values():
        assert callable(function(family.inspect))
        assert callable(function(family.load))
