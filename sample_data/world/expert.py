"""A scripted expert whose action follows from the moment alone: no hidden phase, so that a policy can learn it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sample_data.world.moment import Moment
from sample_data.world.tasks import BLOCKS, THINGS

MAX_STEP = np.array([0.03, 0.03, 0.03, 0.12, 0.12, 0.30])  # metres and radians a step at 5 Hz
HOVER, CARRY, HOME = 0.085, 0.110, 0.140  # heights of the tool over the table in metres


class Phase(StrEnum):
    REACH = "reach"
    DESCEND = "descend"
    GRASP = "grasp"
    LIFT = "lift"
    CARRY = "carry"
    LOWER = "lower"
    RELEASE = "release"
    RETREAT = "retreat"


PHASES = tuple(Phase)


@dataclass(frozen=True)
class Decision:
    action: np.ndarray  # [7]: x, y, z in m, roll, pitch, yaw in rad, gripper 1 open or 0 closed
    phase: Phase


def decide(moment: Moment) -> Decision:
    """What the expert does now."""
    if moment.holds(moment.goal.thing):
        return _bring(moment)
    if not moment.is_open:  # closed on nothing: open on the way up
        return _toward(moment, moment.tool + [0, 0, 0.03], moment.tilt, 1.0, Phase.REACH)
    if moment.is_placed():
        return _toward(moment, np.array([*moment.tool[:2], HOME]), moment.tilt, 1.0, Phase.RETREAT)
    return _fetch(moment)


def is_done(moment: Moment) -> bool:
    return moment.is_open and moment.is_placed() and moment.tool[2] > HOME - 0.03


def _fetch(moment: Moment) -> Decision:
    name = moment.goal.thing
    thing, tool = moment.position[name], moment.tool
    upright = np.array([0.0, 0.0, moment.grasp_yaw(name)])
    bottom = moment.grasp_height(name)
    far, turn = np.linalg.norm(thing[:2] - tool[:2]), abs(upright[2] - moment.tilt[2])
    slant = np.abs(moment.tilt[:2]).max()
    low = tool[2] < HOVER - 0.008
    aligned = far < (0.018 if low else 0.008) and turn < (0.25 if low else 0.08) and slant < (0.10 if low else 0.05)
    if not aligned:
        rising = low and far > 0.018  # sideways motion down here would push things over
        goal = np.array([*(tool[:2] if rising else thing[:2]), max(HOVER, thing[2] + 0.07)])
        return _toward(moment, goal, upright, 1.0, Phase.REACH)
    if tool[2] - bottom < 0.006 and far < 0.010:
        return Decision(np.zeros(7), Phase.GRASP)
    return _toward(moment, np.array([*thing[:2], bottom]), upright, 1.0, Phase.DESCEND)


def _bring(moment: Moment) -> Decision:
    name, receptacle = moment.goal.thing, moment.goal.receptacle
    tool, offset = moment.tool, moment.tool[:2] - moment.position[name][:2]
    target = moment.position[receptacle][:2] + offset
    far, turn = np.linalg.norm(target - tool[:2]), moment.tilt[2]
    upright = moment.tilt.copy()
    if name in BLOCKS:
        quarter = np.pi / 2
        upright[2] += (moment.yaw[receptacle] - moment.yaw[name] + quarter / 2) % quarter - quarter / 2
    turn = abs(upright[2] - moment.tilt[2])
    low = tool[2] < CARRY - 0.02
    if far < (0.016 if low else 0.008) and turn < (0.25 if low else 0.10):
        floor = THINGS[receptacle].rim + THINGS[name].grasp_height + 0.006
        if tool[2] < floor + 0.006:
            return Decision(np.array([0, 0, 0, 0, 0, 0, 1.0]), Phase.RELEASE)
        return _toward(moment, np.array([*target, floor]), moment.tilt, 0.0, Phase.LOWER)
    if low:
        return _toward(moment, np.array([*tool[:2], CARRY]), moment.tilt, 0.0, Phase.LIFT)
    return _toward(moment, np.array([*target, CARRY]), upright, 0.0, Phase.CARRY)


def _toward(moment: Moment, goal: np.ndarray, tilt: np.ndarray, grip: float, phase: Phase) -> Decision:
    step = goal - moment.tool
    step = step / max(1.0, np.abs(step / MAX_STEP[:3]).max())
    turn = np.clip(tilt - moment.tilt, -MAX_STEP[3:], MAX_STEP[3:])
    return Decision(np.array([*step, *turn, grip]), phase)
