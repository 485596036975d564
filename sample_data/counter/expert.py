"""A scripted expert whose action follows from the moment alone, as that of the tabletop's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sample_data.counter.moment import HOME, Moment
from sample_data.counter.tasks import KNOB, OPENED, THINGS, Kind

MAX_STEP = np.array([0.045, 0.045, 0.045, 0.2, 0.2, 0.45])  # metres and radians a step at 3 Hz
HOVER, CARRY = 0.13, 0.15  # heights of the tool over the counter in metres
CLEAR = 0.045  # metres in front of the knob from which it is pushed


class Phase(StrEnum):
    REACH = "reach"
    DESCEND = "descend"
    GRASP = "grasp"
    LIFT = "lift"
    CARRY = "carry"
    LOWER = "lower"
    RELEASE = "release"
    PULL = "pull"
    PUSH = "push"
    RETREAT = "retreat"


@dataclass(frozen=True)
class Decision:
    action: np.ndarray  # [7]: x, y, z in m, roll, pitch, yaw in rad, gripper 1 open or 0 closed
    phase: Phase


def decide(moment: Moment) -> Decision:
    """What the expert does now."""
    if moment.goal.kind is Kind.CLOSE:
        return _shut(moment)
    held = moment.holds(moment.goal.thing)
    if held:
        return {Kind.PICK: _raise, Kind.NEAR: _bring, Kind.OPEN: _pull}[moment.goal.kind](moment)
    if not moment.is_open:  # closed on nothing: open on the way up
        return _toward(moment, moment.tool + [0, 0, 0.04], moment.tilt, 1.0, Phase.REACH)
    if moment.is_reached():
        return _toward(moment, np.array([*moment.tool[:2], HOME]), moment.tilt, 1.0, Phase.RETREAT)
    return _fetch(moment)


def is_done(moment: Moment) -> bool:
    if moment.goal.kind is Kind.PICK:
        return moment.is_reached() and moment.tool[2] > CARRY - 0.01
    return moment.is_reached() and moment.tool[2] > HOME - 0.03


def plan(moment: Moment) -> tuple[Phase, ...]:
    """The phases that are left, the current one first."""
    whole = {
        Kind.PICK: (Phase.REACH, Phase.DESCEND, Phase.GRASP, Phase.LIFT),
        Kind.NEAR: (Phase.REACH, Phase.DESCEND, Phase.GRASP, Phase.LIFT, Phase.CARRY, Phase.LOWER, Phase.RELEASE,
                    Phase.RETREAT),
        Kind.OPEN: (Phase.REACH, Phase.DESCEND, Phase.GRASP, Phase.PULL, Phase.RELEASE, Phase.RETREAT),
        Kind.CLOSE: (Phase.REACH, Phase.DESCEND, Phase.PUSH, Phase.RETREAT),
    }[moment.goal.kind]  # fmt: skip
    return whole[whole.index(decide(moment).phase) :]


def _fetch(moment: Moment) -> Decision:
    """Over the thing, down a funnel: the further off, the higher. Nothing jumps, so that small errors stay small."""
    name = moment.goal.thing
    thing, tool, bottom = moment.position[name], moment.tool, _grasp_height(moment)
    upright = np.array([0.0, 0.0, _grasp_yaw(moment)])
    far, turn = float(np.linalg.norm((thing - tool)[:2])), abs(upright[2] - moment.tilt[2])
    if tool[2] - bottom < 0.008 and far < 0.010 and turn < 0.25:
        return Decision(np.zeros(7), Phase.GRASP)
    off = max(0.0, far - 0.006) + 0.10 * max(0.0, turn - 0.08)
    height = min(max(HOVER, thing[2] + 0.08), bottom + 3.0 * off)
    phase = Phase.DESCEND if height < HOVER - 0.04 else Phase.REACH
    return _toward(moment, _sideways_last(tool, thing, height), upright, 1.0, phase)


def _grasp_height(moment: Moment) -> float:
    name = moment.goal.thing
    position = moment.position[name]
    if name == KNOB:
        return float(position[2])
    return float(max(0.024, position[2] - THINGS[name].half_height + THINGS[name].grasp_height))


def _grasp_yaw(moment: Moment) -> float:
    """The smallest turn of the tool that lines the fingers up with the thing; round things need none."""
    if moment.goal.thing not in ("sponge", "lemon"):
        return 0.0
    return float((moment.yaw[moment.goal.thing] + np.pi / 2) % np.pi - np.pi / 2)


def _raise(moment: Moment) -> Decision:
    return _toward(moment, np.array([*moment.tool[:2], CARRY + 0.02]), moment.tilt, 0.0, Phase.LIFT)


def _bring(moment: Moment) -> Decision:
    """Up, across, and down a funnel beside the target."""
    tool, thing = moment.tool, moment.position[moment.goal.thing]
    spot = moment.beside_target() + tool[:2] - thing[:2]
    far = float(np.linalg.norm(spot - tool[:2]))
    floor = _grasp_height_at_rest(moment) + 0.004
    if tool[2] < floor + 0.008 and far < 0.025:
        return Decision(np.array([0, 0, 0, 0, 0, 0, 1.0]), Phase.RELEASE)
    height = min(CARRY, floor + 2.5 * max(0.0, far - 0.012))
    above = Phase.LIFT if height - tool[2] > 0.02 else Phase.CARRY
    phase = Phase.LOWER if height < CARRY - 0.04 else above
    return _toward(moment, _sideways_last(tool, spot, height), moment.tilt, 0.0, phase)


def _grasp_height_at_rest(moment: Moment) -> float:
    """The tool's height at which the held thing stands on the counter."""
    name = moment.goal.thing
    return float(THINGS[name].half_height + moment.tool[2] - moment.position[name][2])


def _pull(moment: Moment) -> Decision:
    if moment.opening > OPENED + 0.015:
        return Decision(np.array([0, 0, 0, 0, 0, 0, 1.0]), Phase.RELEASE)
    knob = moment.position[KNOB]
    return _toward(moment, np.array([moment.tool[0] - 0.045, knob[1], knob[2]]), moment.tilt, 0.0, Phase.PULL)


def _shut(moment: Moment) -> Decision:
    """With closed fingers in front of the knob, then forward."""
    knob, tool, upright = moment.position[KNOB], moment.tool, np.zeros(3)
    if moment.is_reached():
        back = np.array([min(tool[0], knob[0] - CLEAR), tool[1], HOME])
        return _toward(moment, back, upright, 0.0, Phase.RETREAT)
    beside, low = abs(tool[1] - knob[1]), knob[2]
    before = knob[0] - tool[0]
    if beside < 0.012 and tool[2] < low + 0.012 and before > 0.0:
        return _toward(moment, np.array([tool[0] + 0.045, knob[1], low]), upright, 0.0, Phase.PUSH)
    spot = np.array([knob[0] - CLEAR, knob[1]])
    far = float(np.linalg.norm(spot - tool[:2]))
    height = min(HOVER, low + 3.0 * max(0.0, far - 0.01))
    phase = Phase.DESCEND if height < HOVER - 0.04 else Phase.REACH
    return _toward(moment, _sideways_last(tool, spot, height), upright, 0.0, phase)


def _sideways_last(tool: np.ndarray, target: np.ndarray, height: float) -> np.ndarray:
    """Where to go next: sideways only as far as the tool is near its height, for down there it would push things."""
    share = np.clip(1.5 - (height - tool[2]) / 0.02, 0.0, 1.0)
    return np.array([*(tool[:2] + share * (target[:2] - tool[:2])), height])


def _toward(moment: Moment, goal: np.ndarray, tilt: np.ndarray, grip: float, phase: Phase) -> Decision:
    step = goal - moment.tool
    step = step / max(1.0, np.abs(step / MAX_STEP[:3]).max())
    turn = np.clip(tilt - moment.tilt, -MAX_STEP[3:], MAX_STEP[3:])
    return Decision(np.array([*step, *turn, grip]), phase)
