"""Data sets of 20 episodes whose frames are noise, so that nothing compresses and bytes can be counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.episodes.hdf5_writer import encode_image
from tests.tiny_episode import STEPS, action, write_tiny_episode
from tests.tiny_lerobot_dataset import CAMERA, FPS, png, write_info, write_video
from tests.tiny_rlds import bridge_specification, example, flags, framed

EPISODES, SIDE = 20, 128


def noise(number: int, step: int) -> np.ndarray:
    return np.random.default_rng(100 * number + step).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def frames(number: int) -> list[np.ndarray]:
    return [noise(number, step) for step in range(STEPS)]


def actions(number: int) -> np.ndarray:
    return np.array([action(step) + number for step in range(STEPS)], np.float32)


def write_rlds(folder: Path) -> str:
    """One shard. Each writer returns the id of the episode in the middle."""
    shard = folder / "bridge_dataset-train.tfrecord-00000-of-00001"
    with shard.open("wb") as stream:
        for number in range(EPISODES):
            features = flags(STEPS) | {
                "steps/action": actions(number),
                "steps/language_instruction": [f"task {number}".encode()] * STEPS,
                "steps/observation/image_0": [encode_image(picture, "png", 0) for picture in frames(number)],
                "steps/observation/state": np.zeros((STEPS, 7), np.float32),
            }
            stream.write(framed(example(features)))
    said = {"name": "bridge_dataset", "splits": [{"name": "train", "shardLengths": [str(EPISODES)]}]}
    (folder / "dataset_info.json").write_text(json.dumps(said))
    (folder / "features.json").write_text(json.dumps(bridge_specification()))
    return "train/10"


def _rows(number: int, images: bool) -> pa.Table:
    columns = {
        "action": pa.array(list(actions(number)), pa.list_(pa.float32(), 7)),
        "observation.state": pa.array([np.zeros(7, np.float32)] * STEPS, pa.list_(pa.float32(), 7)),
        "next.success": [False] * STEPS,
        "timestamp": pa.array([step / FPS for step in range(STEPS)], pa.float32()),
        "episode_index": [number] * STEPS,
    }
    if images:
        columns[CAMERA] = [{"bytes": png(picture), "path": None} for picture in frames(number)]
    return pa.table(columns)


def write_lerobot_2(folder: Path) -> str:
    write_info(folder, "v2.1", "video")
    lines = [{"episode_index": n, "tasks": [f"task {n}"], "length": STEPS} for n in range(EPISODES)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "data/chunk-000").mkdir(parents=True)
    for number in range(EPISODES):
        pq.write_table(_rows(number, False), folder / f"data/chunk-000/episode_{number:06d}.parquet")
        write_video(folder / f"videos/chunk-000/{CAMERA}/episode_{number:06d}.mp4", frames(number))
    return "episode_000010"


def write_lerobot_3(folder: Path, images: bool = False) -> str:
    """All episodes in one parquet file, a row group each, and in one video."""
    write_info(folder, "v3.0", "image" if images else "video")
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    first = _rows(0, images)
    with pq.ParquetWriter(folder / "data/chunk-000/file-000.parquet", first.schema) as writer:
        for number in range(EPISODES):
            writer.write_table(_rows(number, images).cast(first.schema))
    entries = []
    for number in range(EPISODES):
        video = {"chunk_index": 0, "file_index": 0, "from_timestamp": number * STEPS / FPS}
        entries.append(
            {
                "episode_index": number,
                "tasks": [f"task {number}"],
                "length": STEPS,
                "data/chunk_index": 0,
                "data/file_index": 0,
                "dataset_from_index": number * STEPS,
                "dataset_to_index": (number + 1) * STEPS,
            }
            | ({} if images else {f"videos/{CAMERA}/{key}": value for key, value in video.items()})
        )
    pq.write_table(pa.Table.from_pylist(entries), folder / "meta/episodes/chunk-000/file-000.parquet")
    if not images:
        path = folder / f"videos/{CAMERA}/chunk-000/file-000.mp4"
        write_video(path, [picture for number in range(EPISODES) for picture in frames(number)])
    return "episode_000010"


def write_lerobot_3_images(folder: Path) -> str:
    return write_lerobot_3(folder, images=True)


def write_hdf5(folder: Path) -> str:
    for number in range(EPISODES):
        changes = {"images": {"front": frames(number)}, "truth": {}, "positions": None}
        write_tiny_episode(folder / f"episode_{number}.hdf5", id=f"episode_{number}", **changes)
    return "episode_10"


def write_robomimic(folder: Path) -> str:
    """All demonstrations in one file."""
    with h5py.File(folder / "lift.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"robots": ["Panda"]}})
        for number in range(EPISODES):
            demo = data.create_group(f"demo_{number}")
            demo["actions"], demo["rewards"] = actions(number), np.zeros(STEPS)
            demo["obs/agentview_image"] = np.array(frames(number))
            demo["obs/robot0_eef_pos"] = np.zeros((STEPS, 3))
    return "lift/demo_10"


def write_aloha(folder: Path) -> str:
    for number in range(EPISODES):
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file["action"] = np.full((STEPS, 14), number, np.float32)
            file["observations/qpos"] = np.zeros((STEPS, 14), np.float32)
            file["observations/images/cam_high"] = np.array(frames(number))
    return "episode_10"


def write_images(folder: Path) -> str:
    for number in range(EPISODES):
        inside = folder / f"episode_{number}"
        (inside / "frames").mkdir(parents=True)
        for step, picture in enumerate(frames(number)):
            (inside / f"frames/{step:03}.png").write_bytes(encode_image(picture, "png", 0))
        rows = "\n".join(f"{number},{step}" for step in range(STEPS))
        (inside / "actions.csv").write_text(f"x [m],gripper [open]\n{rows}\n")
        (inside / "episode.json").write_text(json.dumps({"instruction": f"task {number}", "fps": 5}))
    return "episode_10"


NOISY: Mapping[str, Callable[[Path], str]] = {
    "rlds": write_rlds,
    "lerobot v2.1": write_lerobot_2,
    "lerobot v3.0": write_lerobot_3,
    "lerobot v3.0 images": write_lerobot_3_images,
    "hdf5": write_hdf5,
    "robomimic": write_robomimic,
    "aloha": write_aloha,
    "images": write_images,
}
