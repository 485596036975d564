"""Small LeRobot data sets in the published layouts, whose every value follows from the step's number."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.tiny_episode import ACTION_NAMES, STATE_NAMES, STEPS, action, frame

FPS = 5
TASKS = ("put the red block on the towel", "open the drawer")
CAMERA = "observation.images.top"
PERSISTENT_ROW = pa.struct(
    [
        pa.field("role", pa.string()),
        pa.field("content", pa.string()),
        pa.field("style", pa.string()),
        pa.field("timestamp", pa.float32()),
        pa.field("camera", pa.string()),
        pa.field("tool_calls", pa.list_(pa.string())),
    ]
)
EVENT_ROW = pa.struct([field for field in PERSISTENT_ROW if field.name != "timestamp"])
SAY = json.dumps({"type": "function", "function": {"name": "say", "arguments": {"text": "on my way"}}})


def language_row(style: str | None, content: str | None, role: str = "assistant", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "style": style, "camera": None, "tool_calls": None} | more


PERSISTENT = [
    language_row("plan", "reach, then lift", timestamp=0.0),
    language_row("subtask", "reach", timestamp=0.0),
    language_row("subtask", "lift", timestamp=0.6),
]
EVENTS = {
    2: [
        language_row("vqa", "where is the block?", "user", camera=CAMERA),
        language_row("vqa", "left", camera=CAMERA),
        language_row(None, None, tool_calls=[SAY]),
    ]
}


def write_lerobot(root: Path, version: str = "v3.0", **changes: Any) -> Path:
    """Two episodes of six steps; ``changes`` are arguments of `table` (per episode) or entries of info.json."""
    contents = {key: changes.pop(key) for key in ("images", "language", "success", "values") if key in changes}
    images = contents.get("images", "video")
    write_info(root, version, images, **{"language": contents.get("language", False)} | changes)
    tables = [table(episode, **contents) for episode in range(2)]
    (_write_2 if version.startswith("v2") else _write_3)(root, tables, images)
    return root


def write_info(root: Path, version: str, images: str, language: bool = False, **changes: Any) -> None:
    features: dict[str, Any] = {
        "action": {"dtype": "float32", "shape": [7], "names": {"motors": list(ACTION_NAMES)}},
        "observation.state": {"dtype": "float32", "shape": [7], "names": [list(STATE_NAMES)]},
        CAMERA: {"dtype": images, "shape": [48, 64, 3], "names": ["height", "width", "channels"]},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    if language:
        one = {"dtype": "language", "shape": [1], "names": None}
        features |= {"language_persistent": one, "language_events": one}
    own = {"codebase_version": version, "robot_type": "widowx", "fps": FPS, "features": features, "chunks_size": 1000}
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(own | changes))


def table(
    episode: int,
    images: str = "video",
    language: bool = False,
    success: Sequence[bool] = (True, False),
    values: Mapping[str, Any] | None = None,
) -> pa.Table:
    """The rows of one episode; ``values`` replaces columns."""
    columns: dict[str, Any] = {
        "action": pa.array([action(step) + episode for step in range(STEPS)], pa.list_(pa.float32(), 7)),
        "observation.state": pa.array([np.full(7, step, np.float32) for step in range(STEPS)], pa.list_(pa.float32())),
        "next.success": [success[episode] and step == STEPS - 1 for step in range(STEPS)],
        "timestamp": pa.array([step / FPS for step in range(STEPS)], pa.float32()),
        "frame_index": list(range(STEPS)),
        "episode_index": [episode] * STEPS,
        "index": [episode * STEPS + step for step in range(STEPS)],
        "task_index": [episode] * STEPS,
    }
    if images == "image":
        columns[CAMERA] = [{"bytes": png(frame(step)), "path": f"frame_{step:06d}.png"} for step in range(STEPS)]
    if language:
        rows = PERSISTENT if episode == 0 else []
        columns["language_persistent"] = pa.array([rows] * STEPS, pa.list_(PERSISTENT_ROW))
        events = [EVENTS.get(step, []) if episode == 0 else [] for step in range(STEPS)]
        columns["language_events"] = pa.array(events, pa.list_(EVENT_ROW))
    return pa.table(columns | dict(values or {}))


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def write_video(
    path: Path, frames: Sequence[np.ndarray], fps: int = FPS, keyframe_every: int = 4, index_first: bool = False
) -> Path:
    """An H.264 video with reordered (B) frames and a keyframe every so many frames.

    ``index_first``: the table of frames stands before them, as LeRobot writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream(
            "libx264", rate=fps, options={"crf": "10", "preset": "veryfast", "sc_threshold": "0"}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = keyframe_every
        stream.codec_context.thread_count = 1
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _write_2(root: Path, tables: Sequence[pa.Table], images: str) -> None:
    lines = [{"episode_index": n, "tasks": [TASKS[n]], "length": STEPS} for n in range(len(tables))]
    (root / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tasks = [{"task_index": n, "task": task} for n, task in enumerate(TASKS)]
    (root / "meta/tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tasks))
    for number, rows in enumerate(tables):
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)
        if images == "video":
            write_video(
                root / f"videos/chunk-000/{CAMERA}/episode_{number:06d}.mp4", [frame(step) for step in range(STEPS)]
            )


def _write_3(root: Path, tables: Sequence[pa.Table], images: str) -> None:
    (root / "data/chunk-000").mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(root / "data/chunk-000/file-000.parquet", tables[0].schema) as writer:
        for rows in tables:
            writer.write_table(rows.cast(tables[0].schema))
    if images == "video":
        frames = [frame(step) for _ in tables for step in range(STEPS)]
        write_video(root / f"videos/{CAMERA}/chunk-000/file-000.mp4", frames)
    (root / "meta/episodes/chunk-000").mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist([episode_entry(n, images) for n in range(len(tables))]),
        root / "meta/episodes/chunk-000/file-000.parquet",
    )
    tasks = pa.table({"task_index": list(range(len(TASKS))), "__index_level_0__": list(TASKS)})
    pq.write_table(tasks, root / "meta/tasks.parquet")


def episode_entry(number: int, images: str = "video", **changes: Any) -> dict[str, Any]:
    """A line of version 3's list of episodes."""
    entry = {
        "episode_index": number,
        "tasks": [TASKS[number]],
        "length": STEPS,
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": number * STEPS,
        "dataset_to_index": (number + 1) * STEPS,
        "stats/action/max": [1.0],
    }
    if images == "video":
        entry |= {
            f"videos/{CAMERA}/chunk_index": 0,
            f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": number * STEPS / FPS,
            f"videos/{CAMERA}/to_timestamp": (number + 1) * STEPS / FPS,
        }
    return entry | changes
