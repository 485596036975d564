"""The shipped episodes: some of each task, by the unperturbed expert, with all that the simulator knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from analysis.episodes.hdf5_writer import CameraTruth, Series, write_episode
from models.types import Rationale
from sample_data.recipe.rollout import MAX_STEPS
from sample_data.world.moment import ACTION_NAMES, ACTION_UNITS, STATE_NAMES, STATE_UNITS

FIRST_SEED = 100  # training uses seeds from one million up, evaluation from 500,000 up


class World(Protocol):
    """What a diary asks of the tabletop and of the counter."""

    robot: str
    camera: str
    fovy: float
    fps: float
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    task: str
    instruction: str

    @property
    def present(self) -> tuple[str, ...]: ...

    def reset(self, seed: int, task: str | None = None) -> None: ...
    def step(self, action: np.ndarray) -> None: ...
    def decide(self) -> Any: ...
    def is_done(self) -> bool: ...
    def explain(self, step: int) -> Rationale: ...
    def moment(self) -> Any: ...
    def render(self) -> np.ndarray: ...
    def render_labels(self) -> np.ndarray: ...
    def succeeded(self) -> bool: ...


class Diary:
    """Everything worth keeping of one trajectory, step by step."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.present = ("robot", *sorted(world.present))
        self.frames: list[np.ndarray] = []
        self.masks: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.states: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self.phases: list[str] = []
        self.rationales: list[Rationale] = []

    def note(self, action: np.ndarray) -> None:
        """Call before the action is carried out."""
        moment = self.world.moment()
        self.frames.append(self.world.render())
        self.masks.append(_relabel(self.world.render_labels(), self.world.labels, self.present))
        self.states.append(moment.state)
        self.positions.append(_positions(moment.position, self.present))
        self.phases.append(self.world.decide().phase.value)
        self.rationales.append(self.world.explain(len(self.actions)))
        self.actions.append(action)

    def write(self, path: Path, id: str) -> Path:
        world, boxes = self.world, np.stack([_boxes(mask, len(self.present)) for mask in self.masks])
        return write_episode(
            path,
            id=id,
            instruction=world.instruction,
            fps=world.fps,
            actions=Series(np.stack(self.actions), ACTION_NAMES, ACTION_UNITS),
            images={world.camera: self.frames},
            states=Series(np.stack(self.states), STATE_NAMES, STATE_UNITS),
            success=world.succeeded(),
            task=world.task,
            robot=world.robot,
            phases=self.phases,
            truth={world.camera: CameraTruth(("background", *self.present), self.masks, boxes)},
            positions=np.stack(self.positions),
            rationales=self.rationales,
            attributes={"seed": self.seed, "camera_fovy_deg": world.fovy},
        )


def _relabel(mask: np.ndarray, labels: Sequence[str], present: Sequence[str]) -> np.ndarray:
    table = np.zeros(len(labels), np.uint8)
    for number, name in enumerate(present, start=1):
        table[labels.index(name)] = number
    return table[mask]


def _boxes(mask: np.ndarray, count: int) -> np.ndarray:
    """Left, top, right, bottom in pixels of each label, NaN where it is not seen; float32 [K, 4]."""
    boxes = np.full((count, 4), np.nan, np.float32)
    for k in range(count):
        rows, columns = np.nonzero(mask == k + 1)
        if len(rows):
            boxes[k] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


def _positions(position: Mapping[str, np.ndarray], present: Sequence[str]) -> np.ndarray:
    nowhere = np.full(3, np.nan)
    return np.stack([position.get(name, nowhere) for name in present]).astype(np.float32)


def ship_episodes(folder: Path, world: World, per_task: int, first_seed: int) -> list[Path]:
    """Record episodes of each task of a world; the expert must succeed in each."""
    paths = []
    for number in range(per_task * len(world.tasks)):
        task, seed = world.tasks[number % len(world.tasks)], first_seed + number
        world.reset(seed, task)
        diary = Diary(world, seed)
        while len(diary.actions) < MAX_STEPS:
            action = world.decide().action
            diary.note(action)
            world.step(action)
            if world.is_done():
                break
        if not world.succeeded():
            raise RuntimeError(f"the expert failed at {task!r}, seed {seed}")
        name = f"{task.replace(' ', '-')}-{number // len(world.tasks)}"
        paths.append(diary.write(folder / f"{name}.hdf5", name))
    return paths
