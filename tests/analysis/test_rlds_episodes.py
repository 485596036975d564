"""RLDS data sets: what is written comes back, in every variant that is published."""

from __future__ import annotations

import json
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, open_source, rlds
from analysis.episodes.hdf5_writer import encode_image
from analysis.episodes.rlds import RldsSource
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.tiny_episode import action, frame
from tests.tiny_rlds import (
    STEPS,
    bridge_episode,
    bridge_specification,
    dictionary,
    flags,
    image,
    shard_path,
    specification,
    tensor,
    text,
    write_bridge,
    write_rlds,
)


def metas(path: Path) -> list[EpisodeMeta]:
    entries = list(RldsSource(path).scan())
    assert not [entry for entry in entries if isinstance(entry, BrokenEpisode)], entries
    return [entry for entry in entries if isinstance(entry, EpisodeMeta)]


def one(tmp_path: Path, episode: dict[str, Any], step: dict[str, Any], name: str = "lab_data", **beside: Any) -> Path:
    """A data set of one episode; the flags are added."""
    return write_rlds(
        tmp_path / name / "0.1.0", {"train": [[flags(STEPS) | episode]]}, specification(step, **beside), name
    )


def pictures(count: int = STEPS) -> list[bytes]:
    return [encode_image(frame(step), "jpeg", 92) for step in range(count)]


CAMERA = {"steps/observation/image": pictures()}
OBSERVATION = dictionary(image=image("jpeg", 48, 64, 3))
ACTION = {"steps/action": np.zeros((STEPS, 2), np.float32)}


def test_what_is_written_comes_back(tmp_path):
    source = RldsSource(write_bridge(tmp_path))
    first, second = source.scan()
    assert (first.id, second.id) == ("train/0", "train/1")
    assert (first.length, first.fps, first.robot, first.success) == (STEPS, 5.0, "WidowX 250", None)
    assert first.instruction == "put block 0 on the towel"
    assert first.action_names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert first.extra["actions_are"] == "relative"
    assert first.extra["file_path"] == "/data/0/out.npy" and second.extra["episode_id"] == "1"
    episode = source.open("train/1")
    for index in range(STEPS):
        step = episode.step(index)
        np.testing.assert_array_equal(step.action, action(index) + 1)
        np.testing.assert_array_equal(step.observation.images["image_1"], frame(index)[:, ::-1])
        assert abs(step.observation.images["image_0"].astype(int) - frame(index)).mean() < 3
        np.testing.assert_array_equal(step.observation.state, np.full(7, 0.25, np.float32))
    assert episode.encoded_frame("image_0", 2)[1] == "image/jpeg"
    assert episode.encoded_frame("image_1", 2) == (encode_image(frame(2)[:, ::-1], "png", 92), "image/png")


def test_flags_about_cameras_are_not_trusted_and_black_cameras_are_left_out(tmp_path):
    meta = metas(write_bridge(tmp_path))[0]
    assert meta.extra["has_image_0"] == "0"
    assert meta.cameras == ("image_0", "image_1")
    assert meta.extra["black_cameras"] == "image_3"


def test_a_camera_that_is_dark_at_first_is_kept(tmp_path):
    episode = bridge_episode()
    episode["steps/observation/image_3"][3:] = pictures()[3:]
    folder = write_rlds(tmp_path, {"train": [[episode]]}, bridge_specification())
    assert "image_3" in metas(folder)[0].cameras


def test_where_every_camera_is_black_they_are_kept(tmp_path):
    black = [encode_image(np.zeros((48, 64, 3), np.uint8), "jpeg", 92)] * STEPS
    folder = one(
        tmp_path,
        ACTION | {"steps/observation/image": black},
        {"action": tensor("float32", 2), "observation": OBSERVATION},
    )
    assert metas(folder)[0].cameras == ("image",)


@pytest.mark.slow
def test_splits_and_shards_are_numbered_on(tmp_path):
    folder = write_bridge(tmp_path, {"train": [2, 1, 2], "val": [1]})
    found = metas(folder)
    assert [meta.id for meta in found] == ["train/0", "train/1", "train/2", "train/3", "train/4", "val/0"]
    source = RldsSource(folder)
    assert [source.open(meta.id).actions[0, 0] for meta in found] == [0, 1, 2, 3, 4, 5]
    assert all(source.open(meta.id).meta == meta for meta in found)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_version_folder_or_one_above_it(tmp_path, levels):
    folder = write_bridge(tmp_path)
    root = [folder, folder.parent, folder.parent.parent][levels]
    assert [meta.id for meta in metas(root)] == ["train/0", "train/1"]
    assert isinstance(open_source(root), RldsSource)


def test_several_data_sets_keep_their_ids_apart(tmp_path):
    write_bridge(tmp_path)
    one(tmp_path, ACTION | CAMERA, {"action": tensor("float32", 2), "observation": OBSERVATION})
    found = metas(tmp_path)
    assert [meta.id for meta in found] == [
        "bridge_dataset/1.0.0/train/0",
        "bridge_dataset/1.0.0/train/1",
        "lab_data/0.1.0/train/0",
    ]
    assert all(RldsSource(tmp_path).open(meta.id).meta == meta for meta in found)


def test_a_single_shard_keeps_its_numbers(tmp_path):
    folder = write_bridge(tmp_path, {"train": [2, 1]})
    assert [meta.id for meta in metas(shard_path(folder, "train", 1, 2))] == ["train/2"]


def test_missing_shards_are_named_and_the_numbers_stay(tmp_path):
    folder = write_bridge(tmp_path, {"train": [2, 1], "val": [3]})
    shard_path(folder, "train", 0, 2).unlink()
    shard_path(folder, "val").unlink()
    missing, val, kept = RldsSource(folder).scan()
    assert "1 of 2 files of the split 'train' are not there (2 episodes), shard 00000" in missing.reason
    assert kept.id == "train/2" and RldsSource(folder).open("train/2").meta == kept
    assert "'val'" in val.reason and "(3 episodes)" in val.reason
    with pytest.raises(UserError, match="no readable episode 'train/0'"):
        RldsSource(folder).open("train/0")


def test_without_dataset_info_shards_are_numbered_apart(tmp_path):
    folder = write_bridge(tmp_path, {"train": [2, 1]})
    (folder / "dataset_info.json").unlink()
    found = metas(folder)
    assert [meta.id for meta in found] == ["train/00000-0", "train/00000-1", "train/00001-0"]
    assert all(RldsSource(folder).open(meta.id).meta == meta for meta in found)


def test_without_features_json_the_records_tell(tmp_path):
    folder = write_bridge(tmp_path)
    with_file = RldsSource(folder).open("train/1")
    (folder / "features.json").unlink()
    without = RldsSource(folder).open("train/1")
    assert "features.json is missing" in without.meta.extra["features"]
    assert without.meta.cameras == with_file.meta.cameras and without.meta.state_names == with_file.meta.state_names
    np.testing.assert_array_equal(without.actions, with_file.actions)
    assert without.meta.instruction == with_file.meta.instruction


def test_actions_in_a_dictionary_are_joined_with_names_as_in_fractal(tmp_path):
    parts = {
        "world_vector": np.arange(STEPS * 3).reshape(STEPS, 3) / 100,
        "rotation_delta": np.ones((STEPS, 3)) * 0.5,
        "gripper_closedness_action": np.ones((STEPS, 1)),
        "base_displacement_vector": np.zeros((STEPS, 2)),
        "base_displacement_vertical_rotation": np.zeros((STEPS, 1)),
    }
    episode = {f"steps/action/{name}": values.astype(np.float32) for name, values in parts.items()}
    episode |= {"steps/action/terminate_episode": np.tile([0, 1, 0], (STEPS, 1))}
    episode |= CAMERA | {"steps/observation/natural_language_instruction": [b"pick coke can"] * STEPS}
    episode |= {"steps/observation/base_pose_tool_reached": np.full((STEPS, 7), 0.5, np.float32)}
    episode |= {"steps/observation/gripper_closed": np.zeros((STEPS, 1), np.float32)}
    spec = {name: tensor("float32", values.shape[1]) for name, values in parts.items()}
    observation = dictionary(
        image=image("jpeg", 48, 64, 3),
        natural_language_instruction=tensor("string"),
        base_pose_tool_reached=tensor("float32", 7),
        gripper_closed=tensor("float32", 1),
    )
    step = {"action": dictionary(**spec, terminate_episode=tensor("int32", 3)), "observation": observation}
    folder = one(tmp_path, episode, step, "fractal20220817_data")
    (meta,) = metas(folder)
    assert meta.action_names[:7] == ("x", "y", "z", "roll", "pitch", "yaw", "gripper_closedness_action")
    assert meta.action_names[7:] == ("base x", "base y", "base yaw", *(f"terminate_episode {k}" for k in range(3)))
    assert meta.action_units[:7] == ("m", "m", "m", "rad", "rad", "rad", "closed")
    assert (meta.instruction, meta.fps, meta.robot, len(meta.state_names)) == ("pick coke can", 3.0, "Google Robot", 8)
    actions = RldsSource(folder).open("train/0").actions
    np.testing.assert_allclose(actions[:, :3], parts["world_vector"], atol=1e-7)
    np.testing.assert_array_equal(actions[0, 10:], [0, 1, 0])


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("steps/natural_language_instruction", [b"", *[b"open the drawer"] * (STEPS - 1)]),
        ("steps/language_instruction", [b"open the drawer"] * STEPS),
        ("steps/observation/instruction", np.tile(np.pad([ord(c) for c in "open the drawer"], (0, 497)), STEPS)),
        ("episode_metadata/language_instruction", [b"open the drawer"]),
    ],
)
def test_the_instruction_is_found_in_its_usual_places(tmp_path, name, feature):
    step = {"action": tensor("float32", 2), "observation": OBSERVATION}
    assert metas(one(tmp_path, ACTION | CAMERA | {name: feature}, step))[0].instruction == "open the drawer"


def test_an_unknown_data_set_says_what_is_assumed(tmp_path):
    (meta,) = metas(one(tmp_path, ACTION | CAMERA, {"action": tensor("float32", 2), "observation": OBSERVATION}))
    assert meta.fps == 10.0 and "10 frames a second are assumed" in meta.extra["fps"]
    assert (meta.action_names, meta.action_units) == (("action 0", "action 1"), ("", ""))


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
def test_numbers_stored_as_bytes(tmp_path, encoding):
    rows = [np.array([step, 0.5], "<f8").tobytes() for step in range(STEPS)]
    rows = [zlib.compress(row) for row in rows] if encoding == "zlib" else rows
    step = {"action": tensor("float64", 2, encoding=encoding), "observation": OBSERVATION}
    folder = one(tmp_path, CAMERA | {"steps/action": rows}, step)
    np.testing.assert_array_equal(RldsSource(folder).open("train/0").actions[:, 0], np.arange(STEPS))


def test_depth_is_no_camera_and_the_wrist_comes_last(tmp_path):
    observation = dictionary(
        depth=image("png", 48, 64, 1, dtype="uint16"),
        hand_image=image("jpeg", 48, 64, 3),
        image=image("jpeg", 48, 64, 3),
    )
    frames = {f"steps/observation/{name}": pictures() for name in ("depth", "hand_image", "image")}
    (meta,) = metas(one(tmp_path, ACTION | frames, {"action": tensor("float32", 2), "observation": observation}))
    assert meta.cameras == ("image", "hand_image")


@pytest.mark.parametrize("flagged", [True, False])
def test_of_a_history_of_images_the_newest_is_shown(tmp_path, flagged):
    past = encode_image(np.full((48, 64, 3), 200, np.uint8), "jpeg", 92)
    history = {
        "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
        "sequence": {"feature": image("jpeg", 48, 64, 3), "length": "2"},
    }
    feature = {"steps/observation/image": [each for newest in pictures() for each in (past, newest)]}
    features = (flags(STEPS) if flagged else {}) | ACTION | feature
    step = {"action": tensor("float32", 2), "observation": dictionary(image=history)}
    folder = write_rlds(tmp_path, {"train": [[features]]}, specification(step), "lab_data")
    episode = RldsSource(folder).open("train/0")
    assert episode.meta.length == STEPS
    assert [episode.encoded_frame("image", index)[0] for index in range(STEPS)] == pictures()
    features["steps/observation/image"].pop()
    write_rlds(tmp_path, {"train": [[features | flags(STEPS)]]}, specification(step), "lab_data")
    (broken,) = RldsSource(folder).scan()
    assert isinstance(broken, BrokenEpisode) and "has 11 frames, expected 12" in broken.reason


def test_reward_and_metadata_tell_success(tmp_path):
    step = {"action": tensor("float32", 2), "observation": OBSERVATION}
    reward = np.zeros(STEPS, np.float32)
    reward[-1] = 1
    assert metas(one(tmp_path, ACTION | CAMERA | {"steps/reward": reward}, step, "a"))[0].success is True
    said = {"episode_metadata/success": [0]}
    assert metas(one(tmp_path, ACTION | CAMERA | said, step, "b"))[0].success is False


@pytest.mark.parametrize(
    ("name", "value", "success"),
    [
        ("episode_metadata/episode_success", [1], True),
        ("episode_metadata/is_success", [0], False),
        ("episode_metadata/episode_is_successful", [1], True),
        ("is_success", [1], True),
        ("steps/observation/episode_success", np.zeros(STEPS, np.float32), False),
        ("episode_metadata/episode_success", [-1], None),
        ("episode_metadata/success", [b"yes"], None),
    ],
)
def test_success_is_found_under_its_usual_names(tmp_path, name, value, success):
    step = {"action": tensor("float32", 2), "observation": OBSERVATION}
    assert metas(one(tmp_path, ACTION | CAMERA | {name: value}, step))[0].success is success


POSE = "clip_function_input/base_pose_tool_reached"


@pytest.mark.parametrize(
    "parts",
    [
        {POSE: 7, "gripper_closed": 1},  # Kuka
        {"base_pose_tool_reached": 7, "gripper_closed": 1},  # Fractal
        {"present/xyz": 3, "present/axis_angle": 3, "present/sensed_close": 1},  # BC-Z
        {"ee_states": 16, "gripper_states": 1, "joint_states": 7},  # Viola
    ],
)
def test_states_of_published_data_sets_are_joined_in_order(tmp_path, parts):
    columns = {
        f"steps/observation/{part}": np.full((STEPS, width), at, np.float32)
        for at, (part, width) in enumerate(parts.items())
    }
    kinds = {part: tensor("float32", width) for part, width in parts.items()}
    observation = dictionary(image=image("jpeg", 48, 64, 3), task_id=tensor("float32", 1), **kinds)
    columns["steps/observation/task_id"] = np.zeros(STEPS, np.float32)
    folder = one(tmp_path, ACTION | CAMERA | columns, {"action": tensor("float32", 2), "observation": observation})
    episode = RldsSource(folder).open("train/0")
    expected = [at for at, width in enumerate(parts.values()) for _ in range(width)]
    np.testing.assert_array_equal(episode.states[3], expected)
    assert episode.meta.state_names[0].startswith(next(iter(parts)))


def test_several_instructions_are_counted(tmp_path):
    words = [b"open", b"open", b"close", b"close", b"", b"close"]
    step = {"action": tensor("float32", 2), "observation": OBSERVATION, "language_instruction": text()}
    (meta,) = metas(one(tmp_path, ACTION | CAMERA | {"steps/language_instruction": words}, step))
    assert meta.instruction == "open" and meta.extra["instructions"].startswith("2 in this episode")


def test_a_large_data_set_is_listed_by_reading_little(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    episode = bridge_episode() | {"steps/observation/image_0": [encode_image(noise, "png", 0)] * STEPS}
    folder = write_rlds(tmp_path, {"train": [[episode, bridge_episode(1)]]}, bridge_specification())
    thorough = metas(folder)
    monkeypatch.setattr(rlds, "SMALL_BYTES", 0)
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *given: read.append(given[1]) or pread(*given))
    assert metas(folder) == thorough
    assert 1_000 < sum(read) < 0.5 * shard_path(folder, "train").stat().st_size


@pytest.mark.slow
def test_listing_and_opening_keep_frames_out_of_memory(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), dtype=np.uint8)
    picture = encode_image(noise, "jpeg", 60)
    steps = 60  # 180 MB decoded, over 30 MB encoded
    episode = flags(steps) | {"steps/action": np.zeros((steps, 2), np.float32)}
    episode |= {"steps/observation/image": [picture] * steps}
    folder = write_rlds(tmp_path, {"train": [[episode]]}, None)
    size = shard_path(folder, "train").stat().st_size
    tracemalloc.start()
    source = RldsSource(folder)
    assert len(list(source.scan())) == 1
    assert source.open("train/0").frame("image", steps - 1).shape == (1000, 1000, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 20_000_000 and 3_000_000 < peak < 15_000_000  # bytes


@pytest.mark.slow
def test_no_handle_outlives_its_use(tmp_path):
    folder = write_bridge(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    episodes = [RldsSource(folder).open("train/0") for _ in range(20)]
    assert all(episode.step(0).index == 0 for episode in episodes)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_changes_is_read_again_and_open_episodes_notice(tmp_path):
    source = RldsSource(write_bridge(tmp_path))
    before = list(source.scan())
    episode = source.open("train/0")
    write_rlds(source.root, {"train": [[bridge_episode(7), bridge_episode(8, steps=4)]]}, bridge_specification())
    assert list(source.scan()) != before
    with pytest.raises(UserError, match="was changed after"):
        episode.step(0)


@pytest.mark.slow
def test_real_bridge_data_read_as_tensorflow_reads_them(shared_data):
    root = shared_data / "episodes" / "bridge_rlds"
    if not root.is_dir():
        pytest.skip("the optional folder episodes/bridge_rlds is not there")
    truth = np.load(root / "truth_train_actions.npz")
    source = open_source(root)
    entries = list(source.scan())
    good = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
    (missing,) = [entry for entry in entries if isinstance(entry, BrokenEpisode)]
    assert "'val' are not there (25 episodes)" in missing.reason
    assert len(good) == 25 and {meta.cameras for meta in good} == {("image_0", "image_1", "image_2")}
    assert json.loads((root / "bridge_dataset/1.0.0/dataset_info.json").read_text())["name"] == "bridge_dataset"
    for number, meta in enumerate(good):
        episode = source.open(meta.id)
        np.testing.assert_array_equal(episode.actions, truth[f"action_{number}"])
        assert episode.meta == meta and meta.length == 10 and meta.instruction
        assert episode.frame("image_0", 9).shape == (64, 64, 3) and episode.frame("image_2", 0).std() > 10
