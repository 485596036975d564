"""A policy at the table until it succeeds or its time is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.types import Observation
from sample_data.world.tabletop import Tabletop
from sample_data.world.tasks import TASKS

MAX_STEPS = 60
Act = Callable[[Tabletop, Observation], np.ndarray]
Watch = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Outcome:
    seed: int
    task: str
    success: bool
    lifted: bool  # the right thing
    wrong: bool  # another thing was lifted
    steps: int
    closest_mm: float  # smallest horizontal distance of the tool from the thing


def rollout(table: Tabletop, seed: int, act: Act, task: str | None = None, watch: Watch | None = None) -> Outcome:
    """Run one episode; ``watch`` is called with each action before it is carried out."""
    table.reset(seed, task)
    thing, other = table.goal_thing, TASKS[table.distractor].thing
    lifted = wrong = success = False
    closest, step = np.inf, 0
    while step < MAX_STEPS and not success:
        action = act(table, table.observation())
        if watch is not None:
            watch(action)
        table.step(action)
        step += 1
        moment = table.moment()
        closest = min(closest, float(np.linalg.norm(moment.tool[:2] - moment.position[thing][:2])))
        lifted |= bool(table.is_lifted(thing))
        wrong |= bool(table.is_lifted(other))
        success = lifted and moment.is_open and bool(table.succeeded())
    return Outcome(seed, table.task, success, lifted, wrong, step, 1e3 * closest)


def move_pair(table: Tabletop, seed: int, task: str, apart: float = 0.05) -> tuple[int, list[Observation]] | None:
    """The same table twice, the thing 5 cm to either side of the tool along one axis; None if others are in the way.

    Returns the axis (0: x, 1: y) and the two observations, the smaller coordinate first.
    """
    table.reset(seed, task)
    axis = seed // len(TASKS) % 2
    moment, thing = table.moment(), table.goal_thing
    others = [moment.position[name][:2] for name in table.present if name != thing]
    spots = [moment.tool[:2] + sign * apart * np.eye(2)[axis] for sign in (-1, 1)]
    crowded = any(np.linalg.norm(spot - other) < 0.075 for spot in spots for other in others)
    if crowded or min(spot[0] for spot in spots) < 0.19:
        return None
    pair = []
    for spot in spots:
        table.place(thing, np.array([*spot, moment.position[thing][2]]), moment.yaw[thing])
        table.pose_arm(moment.tool, moment.tilt, moment.gap)
        pair.append(table.observation())
    return axis, pair
