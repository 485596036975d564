"""The counter's scripted teacher: a rationale in four parts, saying only what is true of that moment.

Directions are the robot's: forward is away from its base, left is its left. Lengths are rounded to whole centimetres;
less than one centimetre is called aligned.
"""

from __future__ import annotations

import numpy as np

from models.types import Rationale
from sample_data.counter.expert import Phase, plan
from sample_data.counter.moment import Moment
from sample_data.counter.tasks import CLOSED, DRAWER, KNOB, Kind
from sample_data.world.teacher import AUTHOR, centimetres, offset

_SUB_ACTIONS = {
    Phase.REACH: "reach the {thing}",
    Phase.DESCEND: "descend",
    Phase.GRASP: "grasp it",
    Phase.LIFT: "lift it",
    Phase.CARRY: "carry it to the {target}",
    Phase.LOWER: "lower it",
    Phase.RELEASE: "release it",
    Phase.PULL: "pull the drawer open",
    Phase.PUSH: "push the drawer shut",
    Phase.RETREAT: "retreat",
}


def explain(moment: Moment, start: int = 0) -> Rationale:
    """The rationale of this moment, for the one step [start, start + 1)."""
    parts = {
        "observation": _observation(moment),
        "situation": _situation(moment),
        "spatial": _spatial(moment),
        "planning": _planning(moment),
    }
    return Rationale(parts, start, start + 1, AUTHOR)


def _observation(moment: Moment) -> str:
    """What is in view: what the task is about first, then the rest by name."""
    goal = moment.goal
    first = [DRAWER] if goal.with_drawer else [name for name in (goal.thing, goal.target) if name]
    seen = [DRAWER, *(name for name in moment.position if name != KNOB)]
    names = first + sorted(name for name in seen if name not in first)
    return f"i see the {' , the '.join(names[:-1])} and the {names[-1]} ."


def _situation(moment: Moment) -> str:
    goal = moment.goal
    wanted = {
        Kind.PICK: f"the {goal.thing} is to be lifted",
        Kind.NEAR: f"the {goal.thing} goes near the {goal.target}",
        Kind.OPEN: "the drawer is to be opened",
        Kind.CLOSE: "the drawer is to be closed",
    }[goal.kind]
    return f"{wanted} ; {_state(moment)} ."


def _state(moment: Moment) -> str:
    goal = moment.goal
    if goal.with_drawer:
        opening = centimetres(moment.opening)
        drawer = f"the drawer is {opening} cm open" if moment.opening > CLOSED else "the drawer is closed"
        return f"{drawer} and the gripper holds its knob" if moment.holds(KNOB) else drawer
    if moment.holds(goal.thing):
        return f"the gripper holds the {goal.thing}"
    if not moment.is_open:
        return "the gripper is closed and empty"
    if moment.is_reached():
        return f"the {goal.thing} is near the {goal.target}"
    return "the gripper is open and empty"


def _spatial(moment: Moment) -> str:
    """Where the next target is, seen from the tool or from the thing in it."""
    goal = moment.goal
    thing = goal.thing
    if moment.holds(thing) and goal.kind is Kind.NEAR:
        subject, origin, reference = goal.target, moment.position[thing], f"the {thing}"
    else:
        subject, origin, reference = thing, moment.tool, "the gripper"
    where = _where(moment.position[subject] - origin, reference)
    return f"the {subject} is {where} , the counter is {centimetres(moment.tool[2])} cm below ."


def _where(apart: np.ndarray, reference: str) -> str:
    words = [word for word in (offset(apart[0], "forward", "back"), offset(apart[1], "left", "right")) if word]
    return f"{' and '.join(words)} of {reference}" if words else f"aligned with {reference}"


def _planning(moment: Moment) -> str:
    """The sub-actions that are left, the current one first."""
    goal = moment.goal
    left = (_SUB_ACTIONS[phase].format(thing=goal.thing, target=goal.target) for phase in plan(moment))
    return " , ".join(left) + " ."
