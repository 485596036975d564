"""SmolVLA against a plain computation of the published description; what it reads, keeps and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

import models
from models.errors import UserError
from models.policy import Policy
from models.types import Capture, Observation, Part, Prediction
from tests.contracts.policy_cases import observation_for
from tests.models.plain_smolvla import PlainSmolVLA, letterboxed
from tests.tiny_smolvla import ACTION, ACTION_PAD, BACKBONE, CHUNK, IMAGE, STATE, STATE_PAD, STEPS, write_smolvla

WORDS = "put the carrot on the plate"
EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)
VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "buffers": {"layout": "buffers"},
    "limits": {"norm": {"VISUAL": "IDENTITY", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"}},
    "self-attention only": {"attention_mode": "self_attn"},
    "cross-attention only": {"self_attn_every_n_layers": -1},
    "fewer expert layers": {"vlm_layers": 4, "num_expert_layers": 2, "self_attn_every_n_layers": -1},
    "all layers": {"vlm_layers": -1, "num_steps": 10},
    "marks around images": {"add_image_special_tokens": True},
    "idefics 3": {"backbone_kind": "idefics3"},
    "padded words": {"pad_language_to": "max_length", "prefix_length": 90},
}


def seen_by(policy: Policy, seed: int = 0) -> Observation:
    return observation_for(policy.info, seed, WORDS)


def plainly(folder: Path, seen: Observation, padding: int = 0, empty: int = 0) -> tuple[np.ndarray, PlainSmolVLA]:
    """Normalised actions of the plain computation, and its maps."""
    config = json.loads((folder / "config.json").read_text())
    plain = PlainSmolVLA(folder, config)
    tokenizer = Tokenizer.from_file(str(folder.parent / BACKBONE / "tokenizer.json"))
    state = torch.zeros(STATE_PAD)
    assert seen.state is not None
    state[:STATE] = torch.from_numpy(scaled(folder, config, "observation.state", seen.state))
    torch.manual_seed(0)
    noise = torch.normal(0.0, 1.0, size=(1, CHUNK, ACTION_PAD))[0]
    images = [letterboxed(frame, IMAGE) for frame in seen.images.values()]
    marks = (0, 1) if config["add_image_special_tokens"] else None
    ids = tokenizer.encode(f"{seen.instruction}\n").ids
    length = config["prefix_length"]
    found = plain.actions([*images, *[None] * empty], ids, state, noise, padding, marks, length)
    return scaled(folder, config, "action", found[:, :ACTION].numpy(), back=True), plain


def scaled(folder: Path, config: dict[str, Any], feature: str, values: np.ndarray, back: bool = False) -> np.ndarray:
    """By the formulas written out; statistics from the files of either layout."""
    mode = config["normalization_mapping"]["ACTION" if feature == "action" else "STATE"]
    step = "policy_postprocessor_step_0_un" if back else "policy_preprocessor_step_5_"
    file, prefix = folder / f"{step}normalizer_processor.safetensors", f"{feature}."
    if not file.exists():
        file = folder / "model.safetensors"
        prefix = f"{'unnormalize_outputs' if back else 'normalize_inputs'}.buffer_{feature.replace('.', '_')}."
    statistics = load_file(file)
    if mode == "MEAN_STD":
        mean, std = statistics[f"{prefix}mean"], statistics[f"{prefix}std"]
        return values * std + mean if back else (values - mean) / (std + 1e-8)
    low, high = statistics[f"{prefix}min"], statistics[f"{prefix}max"]
    return (values + 1) / 2 * (high - low) + low if back else 2 * (values - low) / (high - low) - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smolvla(tmp_path_factory.mktemp("smolvla") / "policy")


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return models.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_actions_and_rows_are_those_of_a_plain_computation(variant: str, tmp_path: Path) -> None:
    settings = VARIANTS[variant]
    path = write_smolvla(tmp_path / "policy", **settings)
    policy = models.load(path)
    seen = seen_by(policy)
    padding = 48 - 7 if "pad_language_to" in settings else 0
    expected, plain = plainly(path, seen, padding)
    found = policy.predict(seen, EVERYTHING)
    np.testing.assert_allclose(found.actions, expected, atol=1e-5)
    _compare_rows(found, plain, policy)


def _compare_rows(found: Prediction, plain: PlainSmolVLA, policy: Policy) -> None:
    prefix = len(found.layout.tokens) - CHUNK
    language, *rest = found.attention
    assert language.stream == "language"
    read, whole = plain.maps.read, plain.maps.language[0].shape[2]
    assert len(read) == prefix
    for layer, expected in enumerate(plain.maps.language):
        np.testing.assert_allclose(language.weights[layer][:, :, :prefix], expected[:, read][:, :, read], atol=1e-5)
        assert not language.weights[layer][:, :, prefix:].any()
    experts = [each for each in rest if each.stream == "action expert"]
    assert [each.denoising_step for each in experts] == list(range(policy.info.denoising_steps))
    for record, maps in zip(experts, plain.maps.expert, strict=True):
        assert record.produced == tuple(range(CHUNK))
        assert record.layers == tuple(range(policy.info.expert_layers))
        for layer, expected in enumerate(maps):
            kept = [*read, *range(whole, expected.shape[2])]
            assert len(kept) in (prefix, prefix + CHUNK)
            np.testing.assert_allclose(record.weights[layer][:, :, : len(kept)], expected[:, :, kept], atol=1e-5)
            assert not record.weights[layer][:, :, len(kept) :].any(), "a cross-attention layer sees the prefix alone"
    for record, maps in zip((each for each in rest if each.stream == "vision"), plain.maps.vision, strict=True):
        np.testing.assert_allclose(record.weights, torch.stack(maps).numpy(), atol=1e-5)


def test_an_absent_camera_changes_nothing_where_it_is_masked(tmp_path: Path) -> None:
    for marks in (False, True):
        path = write_smolvla(
            tmp_path / f"marks {marks}",
            cameras=("top", "wrist", "side"),
            empty_cameras=1,
            add_image_special_tokens=marks,
        )
        policy = models.load(path)
        seen = seen_by(policy)
        seen = replace(seen, images={name: seen.images[name] for name in ("top", "side")})
        found = policy.predict(seen)
        expected, _ = plainly(path, seen, empty=1)
        np.testing.assert_allclose(found.actions, expected, atol=1e-5)
        empty = [span.name for span in found.layout.spans if "empty" in span.name]
        assert empty == (["empty camera start", "empty camera end"] if marks else [])


def test_spec(policy: Policy) -> None:
    spec = policy.info
    assert (spec.family, spec.layers, spec.heads) == ("smolvla", 3, 4), "3 of the backbone's 4 layers are used"
    assert (spec.expert_layers, spec.expert_heads, spec.denoising_steps) == (3, 4, STEPS)
    assert (spec.vision_layers, spec.vision_heads) == (2, 3)
    assert (spec.patch_grid, spec.image_size, spec.cameras) == ((4, 4), (64, 64), ("top", "wrist"))
    assert spec.action_space is not None
    assert (len(spec.action_space.names), spec.action_space.chunk) == (ACTION, CHUNK)
    assert len(spec.state_names) == STATE
    assert "4 of 5 steps" in spec.notes["n_action_steps"]
    assert "model.vlm_with_expert.vlm.lm_head.weight" not in spec.unused
    assert spec.unused["model.*vlm_with_expert.vlm.lm_head.weight"] == "the policy writes no words"


def test_inspecting_imports_no_torch(folder: Path) -> None:
    program = (
        f"import sys, models; models.inspect({str(folder)!r});"
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_that_nobody_asked_for_are_not_kept(policy: Policy) -> None:
    assert policy.predict(seen_by(policy), Capture(queries=(Part.RATIONALE,))).attention == ()


def test_layout(policy: Policy) -> None:
    layout = policy.predict(seen_by(policy)).layout
    parts = [(span.part, span.name, span.stop - span.start) for span in layout.spans]
    assert parts[:5] == [
        (Part.IMAGE, "top", 16),
        (Part.IMAGE, "wrist", 16),
        (Part.INSTRUCTION, "instruction", 6),
        (Part.PROMPT, "new line", 1),
        (Part.STATE, "state", 1),
    ]
    assert parts[5:] == [(Part.ACTION, f"step {step}", 1) for step in range(CHUNK)]
    assert layout.tokens[32:38] == tuple(WORDS.split())
    grid = layout.spans[0].grid
    assert grid is not None
    assert (grid.rows, grid.columns) == (4, 4)
    assert grid.box == pytest.approx((0, 96 - 128, 128, 96)), "a wide frame is padded at the top"


def test_a_tall_frame_is_padded_at_the_left(policy: Policy) -> None:
    seen = seen_by(policy)
    tall = {name: np.ascontiguousarray(frame.transpose(1, 0, 2)) for name, frame in seen.images.items()}
    grid = policy.layout(replace(seen, images=tall)).spans[0].grid
    assert grid is not None
    assert grid.box == pytest.approx((96 - 128, 0, 96, 128))


def test_an_instruction_that_ends_in_a_new_line_gets_no_second(policy: Policy) -> None:
    seen = seen_by(policy)
    again = replace(seen, instruction=f"{WORDS}\n")
    assert policy.layout(again) == policy.layout(seen)


def test_long_instructions_are_cut_where_the_processor_says_so(policy: Policy, tmp_path: Path) -> None:
    long = replace(seen_by(policy), instruction="carrot " * 60)
    words = policy.layout(long).positions(Part.INSTRUCTION)
    assert len(words) + len(policy.layout(long).positions(Part.PROMPT)) == 48
    old = models.load(write_smolvla(tmp_path / "old", layout="buffers"))
    assert len(old.layout(long).positions(Part.INSTRUCTION)) >= 60, "LeRobot before v0.4 cut nothing"


@pytest.mark.parametrize("name", ["observation.images.top", "top"])
def test_cameras_go_by_full_and_short_names(policy: Policy, name: str) -> None:
    seen = seen_by(policy)
    one = policy.predict(replace(seen, images={name: seen.images["top"], "wrist": seen.images["wrist"]}))
    np.testing.assert_array_equal(one.actions, policy.predict(seen).actions)
    assert one.layout.spans[0].name == name, "a span bears the observation's name, so that the app finds the frame"


def test_order_of_cameras_is_the_policys(policy: Policy) -> None:
    seen = seen_by(policy)
    turned = replace(seen, images={name: seen.images[name] for name in reversed(list(seen.images))})
    np.testing.assert_array_equal(policy.predict(turned).actions, policy.predict(seen).actions)


def test_a_camera_can_be_absent(policy: Policy) -> None:
    seen = seen_by(policy)
    alone = policy.predict(replace(seen, images={"wrist": seen.images["wrist"]}))
    assert [span.name for span in alone.layout.spans if span.part is Part.IMAGE] == ["wrist"]
    assert not np.allclose(alone.actions, policy.predict(seen).actions)


@pytest.mark.slow
def test_the_only_camera_goes_by_any_name(tmp_path: Path) -> None:
    policy = models.load(write_smolvla(tmp_path / "one", cameras=("front",)))
    assert policy.info.cameras == ()
    frame = np.zeros((48, 64, 3), np.uint8)
    layout = policy.layout(Observation({"anything": frame}, "go", np.zeros(STATE, np.float32)))
    assert layout.spans[0].name == "anything"


def test_names_before_the_rename_step_are_known(tmp_path: Path) -> None:
    rename = {"observation.images.front": "observation.images.camera1"}
    policy = models.load(write_smolvla(tmp_path / "renamed", cameras=("camera1", "camera2"), rename=rename))
    frames = observation_for(policy.info).images
    state = np.zeros(STATE, np.float32)
    for name in ("front", "observation.images.front"):
        seen = Observation({name: frames["camera1"]}, WORDS, state)
        known = Observation({"camera1": frames["camera1"]}, WORDS, state)
        np.testing.assert_array_equal(policy.predict(seen).actions, policy.predict(known).actions)


def test_layers_limit_what_is_kept(policy: Policy) -> None:
    seen = seen_by(policy)
    full, part = (policy.predict(seen, Capture(layers=layers, prefix=True)) for layers in (None, (1,)))
    assert len(full.attention) == len(part.attention) == 1 + STEPS
    for one, other in zip(full.attention, part.attention, strict=True):
        assert other.layers == (1,)
        np.testing.assert_array_equal(other.weights, one.weights[1:2])


def test_dtypes(folder: Path, policy: Policy) -> None:
    seen = seen_by(policy)
    expected = policy.predict(seen).actions
    for dtype, tolerance in (("bfloat16", 0.2), ("float16", 0.02)):
        found = models.load(folder, dtype=dtype).predict(seen, EVERYTHING)
        np.testing.assert_allclose(found.actions, expected, atol=tolerance)
        assert np.isfinite(found.attention[-1].weights).all()


def test_weights_stored_in_half_precision_are_read(folder: Path, tmp_path: Path) -> None:
    half = _copy(folder, tmp_path)
    stored = {name: value.astype(np.float16) for name, value in load_file(half / "model.safetensors").items()}
    save_file(stored, half / "model.safetensors")
    policy = models.load(half)
    expected, _ = plainly(half, seen_by(policy))
    np.testing.assert_allclose(policy.predict(seen_by(policy)).actions, expected, atol=1e-5)


def test_compiled_and_tied_weights_are_read(folder: Path, policy: Policy, tmp_path: Path) -> None:
    seen = seen_by(policy)
    compiled = _copy(folder, tmp_path)
    stored = load_file(compiled / "model.safetensors")
    renamed = {name.replace("model.", "model._orig_mod.", 1): value for name, value in stored.items()}
    save_file(renamed, compiled / "model.safetensors")
    np.testing.assert_array_equal(models.load(compiled).predict(seen).actions, policy.predict(seen).actions)
    tied = models.load(write_smolvla(tmp_path / "tied", tied_head=True))
    np.testing.assert_array_equal(tied.predict(seen).actions, policy.predict(seen).actions)


def test_the_backbone_can_be_named(folder: Path, policy: Policy, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "deep" / "policy"))
    with pytest.raises(UserError, match=rf"backbone .*HuggingFaceTB/{BACKBONE}.*put a copy of that model at .*or name"):
        models.inspect(elsewhere)
    found = models.load(elsewhere, base=folder.parent / BACKBONE)
    np.testing.assert_array_equal(found.predict(seen_by(policy)).actions, policy.predict(seen_by(policy)).actions)


def test_another_model_is_no_backbone(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "paligemma"}')
    with pytest.raises(UserError, match="'paligemma', not a backbone of SmolVLA"):
        models.inspect(folder, base=other)


def test_no_statistics_are_said(tmp_path: Path) -> None:
    spec = models.inspect(write_smolvla(tmp_path / "bare", layout="none"))
    assert spec.action_stats == ()
    assert "normalised units" in spec.notes["action_stats"]


def test_statistics_under_names_that_no_feature_has_are_said(folder: Path, tmp_path: Path) -> None:
    """LeRobot's own migration of a policy with several data sets wrote such names; its code then uses none of them."""
    copy = _copy(folder, tmp_path)
    for file in copy.glob("policy_*.safetensors"):
        save_file({f"so100.buffer.{name}": value for name, value in load_file(file).items()}, file)
    spec = models.inspect(copy)
    assert spec.action_stats == ()
    assert "so100.buffer.action" in spec.notes["action_stats"]


def test_several_data_sets_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = write_smolvla(tmp_path / "many", layout="buffers", data_sets=("so100", "so100-red_2"))
    assert models.inspect(path).action_stats == ("so100", "so100-red_2")
    with pytest.raises(UserError, match=r"several data sets \(so100, so100-red_2\); name one"):
        models.load(path)
    one, other = (models.load(path, action_stats=name) for name in ("so100", "so100-red_2"))
    assert not np.allclose(one.predict(seen_by(one)).actions, other.predict(seen_by(one)).actions)


def _copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder.parent / BACKBONE, tmp_path / BACKBONE)
    return Path(shutil.copytree(folder, tmp_path / "policy"))


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def _tensor(name: str, value: np.ndarray | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        stored = load_file(folder / "model.safetensors")
        stored.pop(name, None)
        save_file(stored if value is None else {**stored, name: value}, folder / "model.safetensors")

    return change


def _backbone(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        _config(**changes)(folder.parent / BACKBONE)

    return change


def _no_tokenizer(folder: Path) -> None:
    (folder.parent / BACKBONE / "tokenizer.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_tensor("model.state_proj.weight", None), r"lack the tensor model.state_proj.weight"),
        (_tensor("model.state_proj.weight", np.zeros((3, 3), np.float32)), r"state_proj.weight has shape \[3, 3\]"),
        (_tensor("model.extra.weight", np.zeros(3, np.float32)), r"model.extra.weight, which belongs nowhere"),
        (_config(num_vlm_layers=2), r"layers.2.* which belongs nowhere"),
        (_config(self_attn_every_n_layers=3), r"has shape"),
        (_config(adapt_to_pi_aloha=True), "adapt_to_pi_aloha is true, which is not supported"),
        (_config(max_state_dim=4), r"state has 6 values, expected 1 to 4 \(max_state_dim\)"),
        (_config(num_expert_layers=2), "num_expert_layers is 2, expected a divisor of the language model's 3 layers"),
        (_config(num_expert_layers=1, self_attn_every_n_layers=2), "do not fit each other: at layer 2"),
        (_config(resize_imgs_with_padding=[64, 48]), "images of 48 x 64 pixels cannot be read"),
        (_config(empty_cameras=2**40), "empty_cameras is 1099511627776, expected a whole number of at most 64"),
        (_config(chunk_size=10**9), "chunk_size is 1000000000, expected a whole number of at most 10000"),
        (_config(chunk_size="many"), "chunk_size is 'many', expected a whole number"),
        (_config(input_features={}), "has 0 values|no camera"),
        (_config(type="diffusion"), "'diffusion', a LeRobot policy that cannot be opened"),
        (_backbone(model_type="llava"), "'llava', not a backbone of SmolVLA"),
        (_backbone(scale_factor=3), "multiple of 24"),
        (_no_tokenizer, "has no tokenizer.json"),
    ],
)
def test_bad_files_are_sentences(folder: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str) -> None:
    copy = _copy(folder, tmp_path)
    damage(copy)
    with pytest.raises(UserError, match=sentence):
        models.load(copy)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"state": None}, "reads 6 state values, the observation has no state"),
        ({"state": np.zeros(4, np.float32)}, r"reads 6 state values, found shape \(4,\)"),
        ({"images": {}}, "reads the cameras top, wrist; the observation has none"),
        ({"images": {"left": np.zeros((8, 8, 3), np.uint8)}}, "reads the cameras top, wrist; the observation has left"),
        ({"images": {"top": np.zeros((0, 8, 3), np.uint8)}}, "has no pixels"),
        ({"images": {"top": np.zeros((1, 900, 3), np.uint8)}}, "too narrow"),
        ({"instruction": "x" * 10_000}, "has 10000 characters"),
    ],
)
def test_refuses_what_it_cannot_read(policy: Policy, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        policy.predict(replace(seen_by(policy), **change))
