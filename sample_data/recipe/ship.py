"""The shipped episodes: six of each task, by the unperturbed expert, with all that the simulator knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.episodes.hdf5_writer import CameraTruth, Series, write_episode
from sample_data.world.expert import decide, is_done
from sample_data.world.moment import ACTION_NAMES, ACTION_UNITS, STATE_NAMES, STATE_UNITS, Moment
from sample_data.world.scene import CAMERA, CAMERA_FOVY
from sample_data.world.tabletop import FPS, Tabletop
from sample_data.world.tasks import LABELS, TASKS
from sample_data.world.teacher import explain

ROBOT = "WidowX AI (simulated)"
FIRST_SEED = 100  # training uses seeds from one million up, evaluation from 500,000 up


class Diary:
    """Everything worth keeping of one trajectory, step by step."""

    def __init__(self, table: Tabletop, seed: int) -> None:
        self.table, self.seed = table, seed
        self.frames: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.moments: list[Moment] = []
        self.actions: list[np.ndarray] = []

    def note(self, action: np.ndarray) -> None:
        """Call before the action is carried out."""
        self.frames.append(self.table.render())
        self.masks.append(self.table.render_labels())
        self.moments.append(self.table.moment())
        self.actions.append(action)

    def write(self, path: Path, id: str, robot: str = ROBOT) -> Path:
        present = ("robot", *sorted(self.table.present))
        masks = [_relabel(mask, present) for mask in self.masks]
        boxes = np.stack([_boxes(mask, len(present)) for mask in masks])
        return write_episode(
            path,
            id=id,
            instruction=self.table.instruction,
            fps=FPS,
            actions=Series(np.stack(self.actions), ACTION_NAMES, ACTION_UNITS),
            images={CAMERA: self.frames},
            states=Series(np.stack([m.state for m in self.moments]), STATE_NAMES, STATE_UNITS),
            success=self.table.succeeded(),
            task=self.table.task,
            robot=robot,
            phases=[decide(m).phase.value for m in self.moments],
            truth={CAMERA: CameraTruth(("background", *present), masks, boxes)},
            positions=np.stack([_positions(m, present) for m in self.moments]),
            rationales=[explain(m, step) for step, m in enumerate(self.moments)],
            attributes={"seed": self.seed, "camera_fovy_deg": CAMERA_FOVY},
        )


def _relabel(mask: np.ndarray, present: Sequence[str]) -> np.ndarray:
    table = np.zeros(len(LABELS), np.uint8)
    for number, name in enumerate(present, start=1):
        table[LABELS.index(name)] = number
    return table[mask]


def _boxes(mask: np.ndarray, count: int) -> np.ndarray:
    """Left, top, right, bottom in pixels of each label, NaN where it is not seen; float32 [K, 4]."""
    boxes = np.full((count, 4), np.nan, np.float32)
    for k in range(count):
        rows, columns = np.nonzero(mask == k + 1)
        if len(rows):
            boxes[k] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


def _positions(moment: Moment, present: Sequence[str]) -> np.ndarray:
    nowhere = np.full(3, np.nan)
    return np.stack([moment.position.get(name, nowhere) for name in present]).astype(np.float32)


def ship_episodes(folder: Path, per_task: int = 6) -> list[Path]:
    """Record the shipped episodes; the expert must succeed in each."""
    table, paths = Tabletop(), []
    for number in range(per_task * len(TASKS)):
        task = list(TASKS)[number % len(TASKS)]
        seed = FIRST_SEED + number
        table.reset(seed, task)
        diary = Diary(table, seed)
        while len(diary.actions) < 60:
            moment = table.moment()
            action = decide(moment).action
            diary.note(action)
            table.step(action)
            if is_done(moment):
                break
        if not table.succeeded():
            raise RuntimeError(f"the expert failed at {task!r}, seed {seed}")
        name = f"{task.replace(' ', '-')}-{number // len(TASKS)}"
        paths.append(diary.write(folder / f"{name}.hdf5", name))
    return paths
