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
    """Over the thing, down a funnel: the further off, the higher. Nothing jumps, so that small errors stay small."""
    name = moment.goal.thing
    thing, tool, bottom = moment.position[name], moment.tool, moment.grasp_height(name)
    upright = np.array([0.0, 0.0, moment.grasp_yaw(name)])
    far, turn = _distance(thing, tool), abs(upright[2] - moment.tilt[2])
    slant = np.abs(moment.tilt[:2]).max()
    if tool[2] - bottom < 0.006 and far < 0.010 and turn < 0.25:
        return Decision(np.zeros(7), Phase.GRASP)
    off = _beyond(far, 0.006) + 0.10 * _beyond(turn, 0.08) + 0.3 * _beyond(slant, 0.05)
    height = min(max(HOVER, thing[2] + 0.07), bottom + 3.0 * off)
    phase = Phase.DESCEND if height < HOVER - 0.035 else Phase.REACH
    return _toward(moment, _sideways_last(tool, thing, height), upright, 1.0, phase)


def _bring(moment: Moment) -> Decision:
    """Up, across, and down a funnel over the receptacle."""
    name, receptacle = moment.goal.thing, moment.goal.receptacle
    tool, thing = moment.tool, moment.position[name]
    target = moment.position[receptacle][:2] + tool[:2] - thing[:2]
    upright = moment.tilt.copy()
    if name in BLOCKS:
        quarter = np.pi / 2
        upright[2] += (moment.yaw[receptacle] - moment.yaw[name] + quarter / 2) % quarter - quarter / 2
    far, turn = _distance(target, tool), abs(upright[2] - moment.tilt[2])
    floor = THINGS[receptacle].rim + THINGS[name].grasp_height + 0.006
    if tool[2] < floor + 0.006 and far < (0.010 if name in BLOCKS else 0.020):
        return Decision(np.array([0, 0, 0, 0, 0, 0, 1.0]), Phase.RELEASE)
    height = min(CARRY, floor + 2.5 * (_beyond(far, 0.008) + 0.05 * _beyond(turn, 0.15)))
    above = Phase.LIFT if height - tool[2] > 0.02 else Phase.CARRY
    phase = Phase.LOWER if height < CARRY - 0.035 else above
    return _toward(moment, _sideways_last(tool, target, height), upright, 0.0, phase)


def _sideways_last(tool: np.ndarray, target: np.ndarray, height: float) -> np.ndarray:
    """Where to go next: sideways only as far as the tool is near its height, for down there it would push things."""
    share = np.clip(1.5 - (height - tool[2]) / 0.02, 0.0, 1.0)
    return np.array([*(tool[:2] + share * (target[:2] - tool[:2])), height])


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Horizontal, in metres."""
    return float(np.linalg.norm(a[:2] - b[:2]))


def _beyond(value: float, allowance: float) -> float:
    return max(0.0, float(value) - allowance)


def _toward(moment: Moment, goal: np.ndarray, tilt: np.ndarray, grip: float, phase: Phase) -> Decision:
    step = goal - moment.tool
    step = step / max(1.0, np.abs(step / MAX_STEP[:3]).max())
    turn = np.clip(tilt - moment.tilt, -MAX_STEP[3:], MAX_STEP[3:])
    return Decision(np.array([*step, *turn, grip]), phase)
