"""Annotations in the layout of ECoT's ``embodied_features_bridge.json``; each value follows from its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STEPS = 6
FOLDER = "/datasets/numpy_256/bridge_data_v2/kitchen"


def file_path(number: int) -> str:
    return f"{FOLDER}/task_{number}/train/out.npy"


def reasoning(step: int) -> dict[str, str]:
    """The subtask changes at step 2, the move at step 4."""
    return {
        "task": "Put the carrot on the plate.",
        "plan": "1. Reach. 2. Grasp. 3. Place.",
        "subtask": "Reach for the carrot" if step < 2 else "Grasp the carrot",
        "subtask_reason": "The gripper is not there yet." if step < 2 else "The gripper is above the carrot.",
        "move": "move down" if step < 4 else "close gripper",
        "move_reason": "The carrot is below." if step < 4 else "The carrot is between the fingers.",
    }


def episode(number: int = 0, id: str = "0", steps: int = STEPS, boxes: int = 2) -> dict[str, Any]:
    """One episode; box k of step t is [16 t, 32 k, 16 t + 16, 32 k + 16] in a frame of 256 x 256."""
    return {
        "metadata": {"episode_id": id, "file_path": file_path(number), "n_steps": steps, "caption": "A kitchen."},
        "features": {
            "state_3d": [[0.25, 0.5, step / 8] for step in range(steps)],
            "move_primitive": [reasoning(step)["move"] for step in range(steps)],
            "gripper_position": [[16 * step, 100] for step in range(steps)],
            "bboxes": [
                [
                    [0.75 - k / 4, ("carrot", "plate")[k % 2], [16 * t, 32 * k, 16 * t + 16, 32 * k + 16]]
                    for k in range(boxes)
                ]
                for t in range(steps)
            ],
        },
        "reasoning": {str(step): reasoning(step) for step in range(steps)},
    }


def write_tiny_ecot(path: Path, content: Mapping[str, Any] | None = None) -> Path:
    """Two recordings, the first with the episodes 0 and 7."""
    default = {file_path(0): {"0": episode(0), "7": episode(0, "7", steps=3)}, file_path(1): {"0": episode(1)}}
    path.write_text(json.dumps(default if content is None else content), encoding="utf-8")
    return path


def write_large_ecot(path: Path, megabytes: int, steps: int = 40) -> int:
    """A file of at least ``megabytes`` (10**6 bytes), about as dense as the real one; the number of its episodes."""
    written = number = 0
    with path.open("w", encoding="utf-8") as stream:
        while written < megabytes * 10**6:
            one = json.dumps({file_path(number): {"0": episode(number, steps=steps, boxes=6)}})[1:-1]
            written += stream.write(("{" if number == 0 else ", ") + one)
            number += 1
        stream.write("}")
    return number
