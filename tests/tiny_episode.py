"""A small synthetic episode whose every value follows from the step's number, so that tests can check it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.episodes.hdf5_writer import CameraTruth, Series, write_episode
from models.types import Rationale

STEPS, HEIGHT, WIDTH = 6, 48, 64
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")
STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gap")
STATE_UNITS = ("m", "m", "m", "rad", "rad", "rad", "m")


def frame(step: int) -> np.ndarray:
    """A blue picture with a red square of 8 pixels that moves 8 pixels right a step."""
    picture = np.full((HEIGHT, WIDTH, 3), (0, 0, 120), np.uint8)
    picture[16:24, 8 * step : 8 * step + 8] = (250, 0, 0)
    return picture


def mask(step: int) -> np.ndarray:
    """Label image: 1 on the red square."""
    return (frame(step)[:, :, 0] > 128).astype(np.uint8)


def action(step: int) -> np.ndarray:
    return np.array([0.01 * step, -0.02, 0.0, 0.0, 0.0, 0.1, step % 2], np.float32)


def contents(steps: int = STEPS) -> dict[str, Any]:
    """Arguments for `write_episode`; a test changes what it wants to be wrong."""
    boxes = np.array([[[8 * step, 16, 8 * step + 8, 24]] for step in range(steps)], np.float32).reshape(steps, 1, 4)
    positions = np.array([[[0.1 * step, 0, 0.02]] for step in range(steps)], np.float32).reshape(steps, 1, 3)
    states = np.array([[0.3, 0.01 * step, 0.1, 0, 0, 0, 0.04] for step in range(steps)], np.float32)
    return {
        "id": "tiny",
        "instruction": "put the red block on the towel",
        "fps": 5,
        "actions": Series(
            np.array([action(step) for step in range(steps)], np.float32).reshape(steps, 7), ACTION_NAMES, ACTION_UNITS
        ),
        "images": {"shoulder": [frame(step) for step in range(steps)]},
        "states": Series(states.reshape(steps, 7), STATE_NAMES, STATE_UNITS),
        "success": True,
        "task": "block on towel",
        "robot": "none",
        "phases": ["reach"] * steps,
        "truth": {"shoulder": CameraTruth(("background", "red block"), [mask(step) for step in range(steps)], boxes)},
        "positions": positions,
        "rationales": [
            Rationale({"planning": "go right", "observation": "a red block"}, start=0, stop=3, author="test"),
            Rationale({"observation": "still a red block"}, start=3, stop=STEPS, author="test"),
        ]
        if steps == STEPS
        else (),
        "attributes": {"seed": 7},
        "encoding": "png",
    }


def write_tiny_episode(path: Path, **changes: Any) -> Path:
    return write_episode(path, **(contents() | changes))
