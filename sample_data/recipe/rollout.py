"""A policy at the table until it succeeds or its time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sample_data.world.tabletop import Tabletop
from sample_data.world.tasks import TASKS

MAX_STEPS = 60
Act = Callable[[Tabletop], np.ndarray]  # looks at the table itself: rendering is half of the cost


@dataclass(frozen=True)
class Outcome:
    seed: int
    task: str
    success: bool
    lifted: bool  # the right thing
    wrong: bool  # another thing was lifted
    steps: int
    closest_mm: float  # smallest horizontal distance of the tool from the thing


def rollout(table: Tabletop, seed: int, act: Act, task: str | None = None) -> Outcome:
    """Run one episode."""
    table.reset(seed, task)
    thing, other = table.goal_thing, TASKS[table.distractor].thing
    lifted = wrong = success = False
    closest, step = np.inf, 0
    while step < MAX_STEPS and not success:
        table.step(act(table))
        step += 1
        moment = table.moment()
        closest = min(closest, float(np.linalg.norm(moment.tool[:2] - moment.position[thing][:2])))
        lifted |= bool(table.is_lifted(thing))
        wrong |= bool(table.is_lifted(other))
        success = lifted and moment.is_open and bool(table.succeeded())
    return Outcome(seed, table.task, success, lifted, wrong, step, 1e3 * closest)


def moved_thing(table: Tabletop, seed: int, task: str, apart: float = 0.05) -> Iterator[int]:
    """Lays the same table twice, the thing 5 cm to either side of the tool along one axis, smaller coordinate first.

    Yields the axis (0: x, 1: y) each time the table is laid; nothing if other things are in the way.
    """
    table.reset(seed, task)
    axis = seed // len(TASKS) % 2
    moment, thing = table.moment(), table.goal_thing
    others = [moment.position[name][:2] for name in table.present if name != thing]
    spots = [moment.tool[:2] + sign * apart * np.eye(2)[axis] for sign in (-1, 1)]
    crowded = any(np.linalg.norm(spot - other) < 0.075 for spot in spots for other in others)
    if crowded or min(spot[0] for spot in spots) < 0.19:
        return
    for spot in spots:
        table.place(thing, np.array([*spot, moment.position[thing][2]]), moment.yaw[thing])
        table.pose_arm(moment.tool, moment.tilt, moment.gap)
        yield axis
