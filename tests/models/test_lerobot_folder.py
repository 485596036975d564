"""What LeRobot policy folders say, in both layouts, and scaling by formulas written out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import models
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.lerobot_folder import ACTION, STATE, TRAINING_DATA, LerobotFolder
from models.families.lerobot_statistics import Scaling
from tests.tiny_smolvla import BACKBONE, write_smolvla

KNOWN = ("smolvla_new_line_processor",)


def read(folder: Path) -> LerobotFolder:
    return LerobotFolder.read(CheckpointFiles.open(folder), known_steps=KNOWN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smolvla(tmp_path_factory.mktemp("lerobot") / "policy")


def test_features(folder: Path) -> None:
    found = read(folder)
    assert (found.state_size, found.action_size) == (6, 7)
    assert found.cameras == {"top": "observation.images.top", "wrist": "observation.images.wrist"}
    assert found.inputs[STATE].kind == "STATE"
    assert found.inputs["observation.images.top"].shape == (3, 96, 128)
    tokenize = found.step("tokenizer_processor")
    assert tokenize is not None
    assert tokenize.integer("max_length") == 48
    assert found.step("no_such_processor") is None


def test_camera_names_that_collide_are_full(tmp_path: Path) -> None:
    path = write_smolvla(tmp_path / "p", cameras=("image",))
    _edit(path / "config.json", _second_image)
    assert list(read(path).cameras) == ["observation.images.image", "observation.image"]


def _second_image(config: dict[str, Any]) -> None:
    config["input_features"]["observation.image"] = {"type": "VISUAL", "shape": [3, 8, 8]}
    config["input_features"]["observation.images.empty_camera_0"] = {"type": "VISUAL", "shape": [3, 8, 8]}


MODES: dict[str, tuple[Any, Any]] = {
    "MEAN_STD": (lambda v, s: (v - s["mean"]) / (s["std"] + 1e-8), lambda v, s: v * s["std"] + s["mean"]),
    "MIN_MAX": (
        lambda v, s: 2 * (v - s["min"]) / (s["max"] - s["min"]) - 1,
        lambda v, s: (v + 1) / 2 * (s["max"] - s["min"]) + s["min"],
    ),
    "QUANTILES": (
        lambda v, s: 2 * (v - s["q01"]) / (s["q99"] - s["q01"]) - 1,
        lambda v, s: (v + 1) * (s["q99"] - s["q01"]) / 2 + s["q01"],
    ),
    "QUANTILE10": (
        lambda v, s: 2 * (v - s["q10"]) / (s["q90"] - s["q10"]) - 1,
        lambda v, s: (v + 1) * (s["q90"] - s["q10"]) / 2 + s["q10"],
    ),
    "IDENTITY": (lambda v, s: v, lambda v, s: v),
}


@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_the_processors(tmp_path: Path, mode: str) -> None:
    path = write_smolvla(tmp_path / "p", norm={"VISUAL": mode, "STATE": mode, "ACTION": mode})
    found = read(path)
    stored = load_file(path / "policy_preprocessor_step_5_normalizer_processor.safetensors")
    into, back = MODES[mode]
    for feature, shape in ((STATE, (6,)), ("observation.images.top", (3, 4, 5))):
        own = {key.rpartition(".")[2]: value for key, value in stored.items() if key.startswith(f"{feature}.")}
        values = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        scaled = found.scaling(feature, found.data_set(None)).normalise(values)
        np.testing.assert_allclose(scaled, into(values, own), atol=1e-5)
    stored = load_file(path / "policy_postprocessor_step_0_unnormalizer_processor.safetensors")
    own = {key.rpartition(".")[2]: value for key, value in stored.items() if key.startswith("action.")}
    values = np.random.default_rng(1).uniform(-1, 1, (5, 7)).astype(np.float32)
    scaling = found.scaling(ACTION, found.data_set(None))
    np.testing.assert_allclose(scaling.restore(values), back(values, own), atol=1e-5)
    np.testing.assert_allclose(scaling.normalise(scaling.restore(values)), values, atol=1e-4)


def test_statistics_among_the_weights(tmp_path: Path) -> None:
    """The layout before v0.4 says the same as the processors that LeRobot migrates it to."""
    old, new = (read(write_smolvla(tmp_path / name, layout=name)) for name in ("buffers", "processors"))
    values = np.linspace(-1, 1, 42, dtype=np.float32).reshape(6, 7)
    for folder in (old, new):
        assert list(folder.scalings) == [TRAINING_DATA]
    actions = [each.scaling(ACTION, TRAINING_DATA).restore(values) for each in (old, new)]
    np.testing.assert_array_equal(actions[0], actions[1])
    states = [each.scaling(STATE, TRAINING_DATA).normalise(values[:, :6]) for each in (old, new)]
    np.testing.assert_array_equal(states[0], states[1])


def test_infinite_buffers_are_no_statistics(tmp_path: Path) -> None:
    path = write_smolvla(tmp_path / "p", layout="buffers")
    stored = load_file(path / "model.safetensors")
    empty = {name: np.full_like(each, np.inf) if "normalize" in name else each for name, each in stored.items()}
    save_file(empty, path / "model.safetensors")
    assert read(path).scalings == {}


def test_a_data_set_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UserError, match="no action statistics 'bridge'; there are: training data"):
        read(folder).data_set("bridge")


def test_statistics_stored_in_half_precision(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    copy = _copy(folder, tmp_path)
    name = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    save_torch({key: value.to(torch.bfloat16) for key, value in load_torch(copy / name).items()}, copy / name)
    values = np.linspace(-1, 1, 7, dtype=np.float32)
    ours, theirs = (read(each).scaling(ACTION, TRAINING_DATA).restore(values) for each in (folder, copy))
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    assert not np.array_equal(ours, theirs)


def test_a_constant_dimension_stays_finite() -> None:
    statistics = {"min": np.zeros(2, np.float32), "max": np.array([0, 1], np.float32)}
    scaling = Scaling("MIN_MAX", statistics)
    assert np.isfinite(scaling.normalise(np.zeros(2, np.float32))).all()
    np.testing.assert_allclose(scaling.restore(np.array([0.3, 1], np.float32)), [0, 1], atol=1e-6)


def test_limits_of_the_action_space() -> None:
    mean, std = np.array([1.0], np.float32), np.array([0.5], np.float32)
    three = Scaling("MEAN_STD", {"mean": mean, "std": std}).bounds()
    assert three is not None
    np.testing.assert_array_equal(np.stack(three), [[-0.5], [2.5]])
    limits = Scaling("MEAN_STD", {"mean": mean, "std": std, "min": mean - 2, "max": mean + 2}).bounds()
    assert limits is not None
    np.testing.assert_array_equal(np.stack(limits), [[-1], [3]])
    assert Scaling("MEAN_STD").bounds() is None


def test_only_some_observations_are_normalised(folder: Path, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)

    def only_images(file: dict[str, Any]) -> None:
        file["steps"][5]["config"]["normalize_observation_keys"] = ["observation.images.top"]

    _edit(copy / "policy_preprocessor.json", only_images)
    assert not read(copy).scaling(STATE, TRAINING_DATA).changes


def test_statistics_are_part_of_the_digest(folder: Path, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)
    assert CheckpointFiles.open(copy).digest() == CheckpointFiles.open(folder).digest()
    name = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    stored = load_file(copy / name)
    save_file({**stored, "action.mean": stored["action.mean"] + 1}, copy / name)
    assert CheckpointFiles.open(copy).digest() != CheckpointFiles.open(folder).digest()


def test_a_step_that_is_switched_off_is_no_matter(folder: Path, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)
    _edit(copy / "policy_preprocessor.json", lambda file: _add_step(file, enabled=False))
    assert read(copy).state_size == 6


def _add_step(file: dict[str, Any], **config: Any) -> None:
    file["steps"].append({"registry_name": "relative_actions_processor", "config": config})


def _edit(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def _copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


BAD: dict[str, tuple[Any, str]] = {
    "a step that is not known": (
        lambda f: _edit(f / "policy_preprocessor.json", lambda c: _add_step(c, enabled=True)),
        "by the step 'relative_actions_processor', which is not supported",
    ),
    "no postprocessor": (
        lambda f: (f / "policy_postprocessor.json").unlink(),
        "incomplete: it has no policy_postprocessor.json",
    ),
    "no state file": (
        lambda f: (f / "policy_preprocessor_step_5_normalizer_processor.safetensors").unlink(),
        "names policy_preprocessor_step_5_normalizer_processor.safetensors, which is not there",
    ),
    "a pointer": (
        lambda f: (f / "policy_preprocessor_step_5_normalizer_processor.safetensors").write_text("version https://x"),
        "Git LFS pointer",
    ),
    "a state file elsewhere": (
        lambda f: _edit(
            f / "policy_preprocessor.json", lambda c: c["steps"][5].update(state_file="../../secret.safetensors")
        ),
        "leads out of the checkpoint",
    ),
    "steps that are no list": (
        lambda f: _edit(f / "policy_preprocessor.json", lambda c: c.update(steps="none")),
        "steps is 'none', expected a list of objects",
    ),
    "a mode that is not known": (
        lambda f: _edit(
            f / "policy_postprocessor.json", lambda c: c["steps"][0]["config"]["norm_map"].update(ACTION="LOG")
        ),
        "action is normalised by 'LOG'; known are IDENTITY, MEAN_STD",
    ),
    "no action": (lambda f: _edit(f / "config.json", lambda c: c.update(output_features={})), "expected 'action'"),
    "a shape of nothing": (
        lambda f: _edit(f / "config.json", lambda c: c["output_features"]["action"].update(shape=[])),
        "shape is",
    ),
    "a statistic that is missing": (
        lambda f: _change_state(f, lambda s: s.pop("action.mean")),
        "MEAN_STD of action needs the statistic 'mean'",
    ),
    "a statistic of another shape": (
        lambda f: _change_state(f, lambda s: s.update({"action.std": np.ones(3, np.float32)})),
        r"the statistic 'std' of action has shape \[3\], expected \[7\]",
    ),
}


def _change_state(folder: Path, change: Any) -> None:
    file = folder / "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    stored = load_file(file)
    change(stored)
    save_file(stored, file)


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_sentences(folder: Path, tmp_path: Path, case: str) -> None:
    damage, sentence = BAD[case]
    copy = _copy(folder, tmp_path)
    damage(copy)
    with pytest.raises(UserError, match=sentence):
        models.inspect(copy)


def test_statistics_that_are_missing_for_one_feature_are_said(folder: Path, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)
    shutil.copytree(folder.parent / BACKBONE, tmp_path / BACKBONE)
    file = copy / "policy_preprocessor_step_5_normalizer_processor.safetensors"
    save_file({name: each for name, each in load_file(file).items() if "state" not in name}, file)
    assert "for observation.state, which" in models.inspect(copy).notes["action_stats"]
