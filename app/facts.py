"""What the player is told about an episode, as JSON values."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from analysis.types import Episode, SceneObject


def episode_facts(episode: Episode) -> dict[str, Any]:
    """Everything the player shows of an episode except frames and ground truth; frame sizes in pixels."""
    meta = episode.meta
    return {
        "id": meta.id,
        "digest": meta.digest,
        "instruction": meta.instruction,
        "length": meta.length,
        "fps": meta.fps,
        "success": meta.success,
        "task": meta.task,
        "robot": meta.robot,
        "cameras": [_camera(episode, name) for name in meta.cameras],
        "action": {"names": _names(meta.action_names, episode.actions.shape[1]), "units": list(meta.action_units)},
        "actions": rounded(episode.actions),
        "rationales": [
            {"start": entry.start, "stop": entry.stop, "author": entry.author, "parts": dict(entry.parts)}
            for entry in episode.rationales
        ],
    }


def ground_truth(episode: Episode) -> dict[str, Any]:
    """Phase of every step and, per camera, a box per object and step (pixels of the frame; null: out of view)."""
    steps = [episode.step(index) for index in range(episode.meta.length)]
    cameras = {camera for step in steps for camera in step.objects}
    return {
        "phases": [step.phase for step in steps],
        "boxes": {camera: _boxes([step.objects.get(camera, ()) for step in steps]) for camera in sorted(cameras)},
    }


def rounded(values: np.ndarray) -> list[list[float | None]]:
    """Rows of numbers with 6 significant digits; what is not finite becomes None, which JSON has a word for."""
    return [[significant(value) for value in row] for row in np.asarray(values).tolist()]


def significant(value: float) -> float | None:
    """One number in the same way."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _camera(episode: Episode, name: str) -> dict[str, Any]:
    data, _ = episode.encoded_frame(name, 0)
    with Image.open(io.BytesIO(data)) as image:
        return {"name": name, "width": image.width, "height": image.height}


def _names(given: tuple[str, ...], count: int) -> list[str]:
    return list(given) if len(given) == count else [f"action {i}" for i in range(count)]


def _boxes(steps: list[tuple[SceneObject, ...]]) -> dict[str, Any]:
    labels = list(dict.fromkeys(thing.name for things in steps for thing in things))
    rows = [{thing.name: thing.box for thing in things} for things in steps]
    return {"labels": labels, "steps": [[row.get(label) for label in labels] for row in rows]}
