"""Layouts that published data sets have beside the usual one, value by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.episodes import open_source
from analysis.episodes.hdf5_writer import encode_image
from analysis.types import Episode, EpisodeMeta
from tests.tiny_aloha import picture, write_aloha
from tests.tiny_episode import STEPS, action, frame
from tests.tiny_lerobot_dataset import CAMERA, FPS, episode_entry, png, table, write_info, write_lerobot, write_video
from tests.tiny_rlds import dictionary, flags, image, specification, tensor, text, write_rlds
from tests.tiny_robomimic import actions, numbers, pictures, write_robomimic


def only(root: Path) -> Episode:
    source = open_source(root)
    metas = list(source.scan())
    assert all(isinstance(meta, EpisodeMeta) for meta in metas), metas
    meta = metas[0]
    assert isinstance(meta, EpisodeMeta)
    episode = source.open(meta.id)
    assert episode.meta == meta
    return episode


def jpegs(flip: bool = False) -> list[bytes]:
    return [encode_image(frame(step)[:, ::-1] if flip else frame(step), "jpeg", 92) for step in range(STEPS)]


def rlds(folder: Path, features: dict[str, Any], step: dict[str, Any], name: str = "my_set", **beside: Any) -> Episode:
    write_rlds(folder, {"train": [[flags(STEPS) | features]]}, specification(step, **beside), name)
    return only(folder)


ACTION = {"steps/action": np.arange(STEPS * 7, dtype=np.float32).reshape(STEPS, 7)}
IMAGE = {"steps/observation/image": jpegs()}
COLOUR = image("jpeg", 48, 64, 3)


def test_rlds_taco_play_has_depth_as_numbers_and_three_actions(tmp_path):
    names = ("actions", "rel_actions_gripper", "rel_actions_world")
    values = {f"steps/action/{name}": np.full((STEPS, 7), k, np.float32) for k, name in enumerate(names)}
    features = values | {
        "steps/action/terminate_episode": np.eye(1, STEPS, STEPS - 1, dtype=np.float32)[0],
        "steps/observation/rgb_static": jpegs(),
        "steps/observation/rgb_gripper": jpegs(flip=True),
        "steps/observation/depth_static": np.zeros((STEPS, 15, 20), np.float32),
        "steps/observation/robot_obs": np.full((STEPS, 15), 2, np.float32),
        "steps/observation/natural_language_instruction": [b"slide the door"] * STEPS,
    }
    observation = dictionary(
        rgb_static=COLOUR,
        rgb_gripper=COLOUR,
        depth_static=tensor("float32", 15, 20),
        robot_obs=tensor("float32", 15),
        natural_language_instruction=text(),
    )
    action = dictionary(**{name: tensor("float32", 7) for name in names}, terminate_episode=tensor("float32"))
    episode = rlds(tmp_path, features, {"action": action, "observation": observation}, "taco_play")
    assert episode.meta.cameras == ("rgb_gripper", "rgb_static") and episode.meta.fps == 15
    assert episode.meta.instruction == "slide the door"
    by_name = dict(zip(episode.meta.action_names, episode.actions.T, strict=True))
    np.testing.assert_array_equal(by_name["terminate_episode"], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(by_name["rel_actions_world 3"], [2] * STEPS)
    assert episode.states is not None and episode.states.shape == (STEPS, 15)


def test_rlds_droid_has_doubles_three_cameras_and_three_instructions(tmp_path):
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    features = ACTION | {f"steps/observation/{name}": jpegs() for name in cameras}
    features |= {
        "steps/action_dict/joint_velocity": np.zeros((STEPS, 7), np.float32),
        "steps/observation/cartesian_position": np.full((STEPS, 6), 0.5, np.float32),
        "steps/observation/gripper_position": np.full(STEPS, 0.25, np.float32),
        "steps/observation/joint_position": np.zeros((STEPS, 7), np.float32),
        "steps/language_instruction": [b""] * STEPS,
        "steps/language_instruction_2": [b"put it away"] * STEPS,
        "steps/language_instruction_3": [b"tidy up"] * STEPS,
        "episode_metadata/file_path": [b"gs://raw/1"],
        "episode_metadata/recording_folderpath": [b"gs://raw/1/recordings"],
    }
    observation = dictionary(
        **dict.fromkeys(cameras, COLOUR),
        cartesian_position=tensor("float64", 6),
        gripper_position=tensor("float64", 1),
        joint_position=tensor("float64", 7),
    )
    step = {
        "action": tensor("float64", 7),
        "action_dict": dictionary(joint_velocity=tensor("float64", 7)),
        "observation": observation,
        **{f"language_instruction{end}": text() for end in ("", "_2", "_3")},
    }
    metadata = dictionary(file_path=text(), recording_folderpath=text())
    episode = rlds(tmp_path, features, step, "droid", episode_metadata=metadata)
    assert episode.meta.cameras == cameras and episode.meta.instruction == "put it away"
    assert episode.states is not None
    np.testing.assert_array_equal(episode.states[0], np.float32([0.5] * 6 + [0.25]))
    np.testing.assert_array_equal(episode.actions, ACTION["steps/action"])
    assert episode.meta.extra["file_path"] == "gs://raw/1"


def test_rlds_language_table_has_letters_as_numbers(tmp_path):
    said = np.zeros((STEPS, 512), np.int32)
    said[:, :5] = [ord(letter) for letter in "nudge"]
    features = {
        "steps/action": np.ones((STEPS, 2), np.float32),
        "steps/observation/rgb": jpegs(),
        "steps/observation/instruction": said,
        "steps/observation/effector_translation": np.ones((STEPS, 2), np.float32),
    }
    observation = dictionary(
        rgb=image("jpeg", -1, -1, 3), instruction=tensor("int32", 512), effector_translation=tensor("float32", 2)
    )
    episode = rlds(tmp_path, features, {"action": tensor("float32", 2), "observation": observation}, "language_table")
    assert episode.meta.instruction == "nudge" and episode.meta.action_names == ("x", "y")


@pytest.mark.parametrize("kind", ["Dataset", "Sequence"])
def test_rlds_steps_may_be_a_sequence_and_frames_of_any_size(tmp_path, kind):
    step = {"action": tensor("float32", 7), "observation": dictionary(image=image("png", -1, -1, 3))}
    said = specification(step)
    said["featuresDict"]["features"]["steps"]["pythonClassName"] = f"tensorflow_datasets.core.features.{kind}"
    frames = [encode_image(frame(number)[: 40 + number], "png", 92) for number in range(STEPS)]
    write_rlds(tmp_path, {"train": [[flags(STEPS) | ACTION | {"steps/observation/image": frames}]]}, said, "any")
    episode = only(tmp_path)
    for number in range(STEPS):
        np.testing.assert_array_equal(episode.frame("image", number), frame(number)[: 40 + number])


def test_rlds_words_that_change_are_those_of_the_step(tmp_path):
    said = [b"", b"reach", b"", b"lift", b"lift", b""]
    episode = rlds(
        tmp_path,
        ACTION | IMAGE | {"steps/language_instruction": said},
        {"action": tensor("float32", 7), "observation": dictionary(image=COLOUR), "language_instruction": text()},
    )
    spoken = [episode.step(number).observation.instruction for number in range(STEPS)]
    assert spoken == ["reach", "reach", "reach", "lift", "lift", "lift"] and episode.meta.instruction == "reach"


def test_rlds_grey_pictures_are_a_camera_where_there_is_no_other(tmp_path):
    import io

    from PIL import Image

    def grey(number: int) -> bytes:
        out = io.BytesIO()
        Image.fromarray(frame(number)[:, :, 0]).save(out, "PNG")
        return out.getvalue()

    pictures = [grey(number) for number in range(STEPS)]
    features = ACTION | {"steps/observation/gray": pictures, "steps/observation/depth": pictures}
    observation = dictionary(gray=image("png", 48, 64, 1), depth=image("png", 48, 64, 1))
    episode = rlds(tmp_path, features, {"action": tensor("float32", 7), "observation": observation})
    assert episode.meta.cameras == ("gray",)
    np.testing.assert_array_equal(episode.frame("gray", 2), np.repeat(frame(2)[:, :, :1], 3, 2))


def test_rlds_nested_sets_and_sequences_in_a_step_are_stepped_over(tmp_path):
    inner = {
        "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
        "sequence": {"feature": tensor("float32", 3), "length": "-1"},
    }
    fixed = {
        "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
        "sequence": {"feature": tensor("float32"), "length": "4"},
    }
    features = ACTION | IMAGE
    features |= {
        "steps/observation/points/ragged_flat_values": np.zeros(9, np.float32),
        "steps/observation/points/ragged_row_lengths_0": np.ones(STEPS, np.int64),
        "steps/observation/state": np.arange(4 * STEPS, dtype=np.float32),
        "steps/language_instruction": [b"go"] * STEPS,
    }
    step = {
        "action": tensor("float32", 7),
        "observation": dictionary(image=COLOUR, points=inner, state=fixed),
        "language_instruction": tensor("string"),
    }
    episode = rlds(tmp_path, features, step)
    assert episode.meta.instruction == "go" and episode.states is not None
    np.testing.assert_array_equal(episode.states[1], [4, 5, 6, 7])


def test_rlds_bridge_of_open_x_embodiment(tmp_path):
    features = IMAGE | {
        "steps/action/world_vector": np.full((STEPS, 3), 0.01, np.float32),
        "steps/action/rotation_delta": np.full((STEPS, 3), 0.02, np.float32),
        "steps/action/open_gripper": np.array([1, 1, 0, 0, 1, 1]),
        "steps/action/terminate_episode": np.zeros(STEPS, np.float32),
        "steps/observation/state": np.zeros((STEPS, 7), np.float32),
        "steps/observation/natural_language_instruction": [b"put carrot on plate"] * STEPS,
    }
    step = {
        "action": dictionary(
            open_gripper=tensor("bool"),
            rotation_delta=tensor("float32", 3),
            terminate_episode=tensor("float32"),
            world_vector=tensor("float32", 3),
        ),
        "observation": dictionary(image=COLOUR, state=tensor("float32", 7), natural_language_instruction=text()),
    }
    episode = rlds(tmp_path, features, step, "bridge")
    assert episode.meta.action_names[:7] == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    np.testing.assert_array_equal(episode.actions[2], np.float32([0.01] * 3 + [0.02] * 3 + [0, 0]))
    assert episode.meta.fps == 5


# LeRobot


def test_lerobot_times_in_doubles_far_from_zero(tmp_path):
    times = pa.array([step / FPS for step in range(STEPS)], pa.float64())
    episode = only(write_lerobot(tmp_path, "v2.0", values={"timestamp": times}))
    assert np.abs(episode.frame("top", 3).astype(int) - frame(3)).mean() < 6


def test_lerobot_without_times_takes_the_rate(tmp_path):
    write_lerobot(tmp_path, "v2.1")
    info = json.loads((tmp_path / "meta/info.json").read_text())
    del info["features"]["timestamp"]
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    for path in (tmp_path / "data").rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["timestamp", "index", "frame_index"]), path)
    episode = only(tmp_path)
    assert np.abs(episode.frame("top", 5).astype(int) - frame(5)).mean() < 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pa.uint8(), pa.bool_(), pa.list_(pa.bool_(), 1), pa.list_(pa.int64())])
def test_lerobot_success_in_any_number_type(tmp_path, kind):
    won = [0] * (STEPS - 1) + [1]
    values = [[bool(one)] if pa.types.is_boolean(getattr(kind, "value_type", pa.null())) else [one] for one in won]
    column = values if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else won
    flat = [bool(one) for one in won] if kind == pa.bool_() else column
    episode = only(write_lerobot(tmp_path, "v3.0", values={"next.success": pa.array(flat, kind)}))
    assert episode.meta.success is True


def test_lerobot_tasks_that_change_are_those_of_the_step(tmp_path):
    write_lerobot(tmp_path, "v2.1", values={"task_index": pa.array([0, 0, 1, 1, 1, 0])})
    lines = [
        {"episode_index": n, "tasks": ["put the red block on the towel", "open the drawer"], "length": STEPS}
        for n in range(2)
    ]
    (tmp_path / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    episode = only(tmp_path)
    said = [episode.step(number).observation.instruction for number in range(STEPS)]
    assert [words.split()[0] for words in said] == ["put", "put", "open", "open", "open", "put"]


def test_lerobot_with_many_chunks_and_files(tmp_path):
    """Version 3 with files of its own for each episode, in several chunks, not counted from zero."""
    write_info(tmp_path, "v3.0", "video")
    entries = []
    for number in range(4):
        place = {"chunk_index": number // 2, "file_index": number % 2}
        path = tmp_path / f"data/chunk-{number // 2:03d}/file-{number % 2:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        moved = pa.array([action(step) + number for step in range(STEPS)], pa.list_(pa.float32(), 7))
        rows = table(0, values={"episode_index": [10 + number] * STEPS, "action": moved})
        pq.write_table(rows, path)
        video = tmp_path / f"videos/{CAMERA}/chunk-{number // 2:03d}/file-{number % 2:03d}.mp4"
        write_video(video, [np.roll(frame(step), 4 * number, 0) for step in range(STEPS)])
        entry = episode_entry(
            0,
            episode_index=10 + number,
            dataset_from_index=60 + number * STEPS,
            dataset_to_index=60 + (number + 1) * STEPS,
        )
        entry |= {f"{part}/{key}": value for part in ("data", f"videos/{CAMERA}") for key, value in place.items()}
        entries.append(entry)
    for chunk in range(2):
        listed = tmp_path / f"meta/episodes/chunk-{chunk:03d}/file-000.parquet"
        listed.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(entries[2 * chunk : 2 * chunk + 2]), listed)
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["a", "b"]}), tmp_path / "meta/tasks.parquet")
    source = open_source(tmp_path)
    assert [entry.id for entry in source.scan()] == [f"episode_{10 + n:06d}" for n in range(4)]
    for number in range(4):
        episode = source.open(f"episode_{10 + number:06d}")
        np.testing.assert_array_equal(episode.actions[3], action(3) + number)
        wanted = np.roll(frame(3), 4 * number, 0)
        assert np.abs(episode.frame("top", 3).astype(int) - wanted).mean() < 6


def renamed(root: Path, names: dict[str, str], **changes: Any) -> Path:
    """A version 2.1 data set whose columns are called otherwise; ``changes`` are entries of info.json."""
    write_lerobot(root, "v2.1")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"] = {names.get(name, name): given for name, given in info["features"].items()}
    (root / "meta/info.json").write_text(json.dumps(info | changes))
    for path in (root / "data").rglob("*.parquet"):
        rows = pq.read_table(path)
        pq.write_table(rows.rename_columns([names.get(name, name) for name in rows.column_names]), path)
    for folder in (root / "videos").glob(f"*/{CAMERA}"):
        folder.rename(folder.with_name(names.get(CAMERA, CAMERA)))
    return root


@pytest.mark.parametrize(
    ("actions", "states"),
    [
        ("actions", "state"),  # openpi's conversions, physical-intelligence/libero
        ("actions", "joint_position"),  # openpi's conversion of DROID
        ("actions.joint.position", "observation.states.joint.position"),  # AgiBot World
    ],
)
def test_lerobot_columns_of_other_names(tmp_path, actions, states):
    names = {"action": actions, "observation.state": states, CAMERA: "wrist_image"}
    episode = only(renamed(tmp_path, names))
    assert episode.meta.cameras == ("wrist_image",)
    np.testing.assert_array_equal(episode.actions, [action(step) for step in range(STEPS)])
    np.testing.assert_array_equal(episode.states, [[step] * 7 for step in range(STEPS)])
    assert np.abs(episode.frame("wrist_image", 3).astype(int) - frame(3)).mean() < 6


def test_lerobot_state_of_joints_and_gripper(tmp_path):
    names = {"observation.state": "joint_position", "next.success": "gripper_position"}
    episode = only(renamed(tmp_path, names))
    assert episode.meta.state_names[-1] == "gripper_position"
    np.testing.assert_array_equal(episode.states, [[*[step] * 7, step == STEPS - 1] for step in range(STEPS)])


@pytest.mark.parametrize("odd", [{"dtype": "string", "shape": [1]}, {"dtype": "float32", "shape": [0]}])
def test_lerobot_states_and_actions_that_are_no_numbers_are_left_out(tmp_path, odd):
    write_lerobot(tmp_path, "v2.1")
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"] = {
        "actions": info["features"].pop("action"),
        "action.mode": odd,
        "observation.state.mode": odd,
        "observation.state.arm": info["features"].pop("observation.state"),
        **info["features"],
    }
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    for path in (tmp_path / "data").rglob("*.parquet"):
        names = {"action": "actions", "observation.state": "observation.state.arm"}
        pq.write_table(pq.read_table(path).rename_columns(names), path)
    episode = only(tmp_path)
    np.testing.assert_array_equal(episode.states, [[step] * 7 for step in range(STEPS)])
    left_out = episode.meta.extra["columns, not read"].splitlines()
    assert [said.split("'")[1] for said in left_out] == ["action.mode", "observation.state.mode"]


@pytest.mark.parametrize("name", ["next.success", "success", "is_episode_successful"])
def test_lerobot_success_under_any_name(tmp_path, name):
    assert only(renamed(tmp_path, {"next.success": name})).meta.success is True


def test_lerobot_rate_in_quotes(tmp_path):
    assert only(renamed(tmp_path, {}, fps=str(FPS))).meta.fps == FPS


def test_lerobot_lists_only_some_episodes_of_a_file(tmp_path):
    """The list's first episode is not the file's first: what it says about rows is not taken for granted."""
    write_lerobot(tmp_path, "v3.0")
    path = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    episode = only(tmp_path)
    assert episode.meta.id == "episode_000001"
    np.testing.assert_array_equal(episode.actions[2], action(2) + 1)


def test_lerobot_images_as_png_with_other_columns_beside(tmp_path):
    names = {"motors": [f"j{n}" for n in range(7)]}
    features = {
        "action": {"dtype": "float64", "shape": [7], "names": names},
        "observation.images.cam": {"dtype": "image", "shape": [3, 48, 64], "names": ["channel", "height", "width"]},
        "observation.state": {"dtype": "uint8", "shape": [2], "names": None},
        "observation.effort": {"dtype": "float32", "shape": [7], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "annotation.human": {"dtype": "string", "shape": [1], "names": None},
    }
    write_info(tmp_path, "v2.0", "image", features=features)
    (tmp_path / "meta/episodes.jsonl").write_text('{"episode_index": 0, "tasks": ["wave"], "length": 6}\n')
    (tmp_path / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "wave"}\n')
    rows = pa.table(
        {
            "action": pa.array([action(step).astype(float).tolist() for step in range(STEPS)], pa.list_(pa.float64())),
            "observation.images.cam": [{"bytes": png(frame(step)), "path": None} for step in range(STEPS)],
            "observation.state": pa.array([[step, 1] for step in range(STEPS)], pa.list_(pa.uint8(), 2)),
            "annotation.human": ["x"] * STEPS,
            "next.done": [False] * STEPS,
        }
    )
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    pq.write_table(rows, tmp_path / "data/chunk-000/episode_000000.parquet")
    episode = only(tmp_path)
    assert episode.meta.action_names == tuple(names["motors"]) and episode.meta.cameras == ("cam",)
    np.testing.assert_array_equal(episode.frame("cam", 4), frame(4))
    assert episode.states is not None and episode.states[5].tolist() == [5, 1]


# robomimic, LIBERO, ALOHA


def test_robomimic_without_attributes_with_depth_and_other_names(tmp_path):
    path = write_robomimic(tmp_path / "task.hdf5")
    with h5py.File(path, "a") as file:
        del file["data"].attrs["env_args"]
        for demo in ("demo_0", "demo_1"):
            observations = file[f"data/{demo}/obs"]
            observations["table_cam"] = pictures(1)
            observations["agentview_depth"] = np.zeros((len(pictures(0)), 8, 8, 1), np.float32)
            observations.create_group("datagen_info")["eef_pose"] = np.zeros((4, 4))
            file[f"data/{demo}/next_obs/agentview_image"] = pictures(0)
    episode = only(path)
    assert set(episode.meta.cameras) == {"agentview", "robot0_eye_in_hand", "table_cam"}
    np.testing.assert_array_equal(episode.frame("table_cam", 1), pictures(1)[1])
    np.testing.assert_array_equal(episode.actions, actions(0).astype(np.float32))


def test_libero_filtered_copies_have_no_attributes(tmp_path):
    path = tmp_path / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5"
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"], demo["dones"] = actions(0), np.eye(1, len(actions(0)), len(actions(0)) - 1, dtype=int)[0]
        for name, values in {
            "agentview_rgb": pictures(0)[:, ::-1],
            "eye_in_hand_rgb": pictures(0)[:, ::-1],
            "ee_states": numbers(6, 0),
            "gripper_states": numbers(2, 0),
            "joint_states": numbers(7, 0),
        }.items():
            demo[f"obs/{name}"] = values
    episode = only(path)
    assert episode.meta.instruction == "turn on the stove" and episode.meta.success is True
    np.testing.assert_array_equal(episode.frame("agentview", 2), pictures(0)[2])


def test_mobile_aloha_puts_the_base_behind_the_arms(tmp_path):
    path = write_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    with h5py.File(path, "a") as file:
        file["base_action"] = np.arange(8, dtype=float).reshape(4, 2)
        file.attrs["sim"] = True
    episode = only(path)
    assert episode.meta.action_names[-2:] == ("base_linear", "base_angular") and episode.actions.shape == (4, 16)
    np.testing.assert_array_equal(episode.actions[:, 14:], np.arange(8).reshape(4, 2))
    assert "simulated" in episode.meta.robot
    assert np.abs(episode.frame("cam_high", 1).astype(int) - picture(0, 1)).mean() < 12
