"""The sample worlds as ``analysis.evaluation`` lets policies act in them."""

from __future__ import annotations

import numpy as np

from analysis.evaluation.world import Standing
from analysis.types import SceneObject
from models.types import Observation
from sample_data.counter.counter import Counter
from sample_data.recipe.rollout import MAX_STEPS
from sample_data.world.moment import ACTION_NAMES, ACTION_UNITS, STATE_NAMES, STATE_UNITS
from sample_data.world.tabletop import FPS, Tabletop
from sample_data.world.tasks import TASKS


def in_view(scene: Tabletop | Counter) -> dict[str, tuple[SceneObject, ...]]:
    """The robot and the things, by their masks."""
    seen = scene.render_labels()
    masks = {name: seen == scene.labels.index(name) for name in ("robot", *scene.present)}
    return {scene.camera: tuple(SceneObject(name, mask=mask) for name, mask in masks.items() if mask.any())}


class TabletopWorld:
    """The table of four tasks. A rollout succeeds when the thing was lifted, lies where it should, and is let go."""

    robot, fps, longest = Tabletop.robot, FPS, MAX_STEPS
    action_names, action_units = ACTION_NAMES, ACTION_UNITS
    state_names, state_units = STATE_NAMES, STATE_UNITS

    def __init__(self) -> None:
        self.table = Tabletop()
        self._lifted = False

    def begin(self, seed: int, task: str | None = None) -> str:
        self.table.reset(seed, task)
        self._lifted = False
        return self.table.task

    def observation(self) -> Observation:
        return self.table.observation()

    def objects(self) -> dict[str, tuple[SceneObject, ...]]:
        return in_view(self.table)

    def step(self, action: np.ndarray) -> Standing:
        table = self.table
        table.step(action)
        self._lifted |= bool(table.is_lifted(table.goal_thing))
        wrong = bool(table.is_lifted(TASKS[table.distractor].thing))
        success = self._lifted and table.moment().is_open and bool(table.succeeded())
        return Standing(success, self._lifted, wrong)


class CounterWorld:
    """The counter of the second robot. Grasped: the thing, or the drawer's knob, has been between the fingers."""

    robot, fps, longest = Counter.robot, Counter.fps, MAX_STEPS
    action_names, action_units = ACTION_NAMES, ACTION_UNITS
    state_names, state_units = STATE_NAMES, STATE_UNITS

    def __init__(self) -> None:
        self.counter = Counter()
        self._grasped = False

    def begin(self, seed: int, task: str | None = None) -> str:
        self.counter.reset(seed, task)
        self._grasped = False
        return self.counter.task

    def observation(self) -> Observation:
        return self.counter.observation()

    def objects(self) -> dict[str, tuple[SceneObject, ...]]:
        return in_view(self.counter)

    def step(self, action: np.ndarray) -> Standing:
        counter = self.counter
        counter.step(action)
        self._grasped |= bool(counter.moment().holds(counter.goal_thing))
        others = [name for name in counter.things if name != counter.goal_thing]
        wrong = any(counter.is_lifted(name) for name in others)
        return Standing(bool(counter.succeeded()), self._grasped, wrong)
