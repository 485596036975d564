"""The scripted teacher: a rationale in four parts, read off the simulator, saying only what is true of that moment.

Directions are the robot's: forward is away from its base, left is its left. Lengths are rounded to whole centimetres;
less than one centimetre is called aligned.
"""

from __future__ import annotations

from models.types import Rationale
from sample_data.world.expert import PHASES, Phase, decide
from sample_data.world.moment import Moment

AUTHOR = "scripted teacher"
_SUB_ACTIONS = {
    Phase.REACH: "reach the {thing}",
    Phase.DESCEND: "descend",
    Phase.GRASP: "grasp it",
    Phase.LIFT: "lift it",
    Phase.CARRY: "carry it to the {receptacle}",
    Phase.LOWER: "lower it",
    Phase.RELEASE: "release it",
    Phase.RETREAT: "retreat",
}


def explain(moment: Moment, start: int = 0, phase: Phase | None = None) -> Rationale:
    """The rationale of this moment, for the one step [start, start + 1).

    ``phase``: what the expert is about, where it is known; otherwise it is asked.
    """
    parts = {
        "observation": _observation(moment),
        "situation": _situation(moment),
        "spatial": _spatial(moment),
        "planning": _planning(moment, phase or decide(moment).phase),
    }
    return Rationale(parts, start, start + 1, AUTHOR)


def _observation(moment: Moment) -> str:
    """What is in view: what the task is about first, then the rest by name."""
    first = [moment.goal.thing, moment.goal.receptacle]
    names = first + sorted(name for name in moment.position if name not in first)
    return f"i see the {' , the '.join(names[:-1])} and the {names[-1]} ."


def _situation(moment: Moment) -> str:
    goal = moment.goal
    if moment.holds(goal.thing):
        state = f"the gripper holds the {goal.thing}"
    elif not moment.is_open:
        state = "the gripper is closed and empty"
    elif moment.is_placed():
        state = f"the {goal.thing} is {goal.relation} the {goal.receptacle}"
    else:
        state = "the gripper is open and empty"
    return f"the {goal.thing} goes {goal.relation} the {goal.receptacle} ; {state} ."


def _spatial(moment: Moment) -> str:
    """Where the next target is, seen from the tool or from the thing in it."""
    thing, receptacle = moment.goal.thing, moment.goal.receptacle
    if moment.holds(thing):
        subject, origin, reference = receptacle, moment.position[thing], f"the {thing}"
    else:
        subject, origin, reference = thing, moment.tool, "the gripper"
    dx, dy, _ = moment.position[subject] - origin
    apart = " and ".join(word for word in (offset(dx, "forward", "back"), offset(dy, "left", "right")) if word)
    where = f"{apart} of {reference}" if apart else f"aligned with {reference}"
    return f"the {subject} is {where} , the table is {centimetres(moment.tool[2])} cm below ."


def offset(metres: float, positive: str, negative: str) -> str:
    amount = centimetres(abs(metres))
    return f"{amount} cm {positive if metres > 0 else negative}" if amount else ""


def centimetres(metres: float) -> int:
    return min(40, round(metres * 100))


def _planning(moment: Moment, phase: Phase) -> str:
    """The sub-actions that are left, the current one first."""
    left = PHASES[PHASES.index(phase) :]
    return (
        " , ".join(_SUB_ACTIONS[p].format(thing=moment.goal.thing, receptacle=moment.goal.receptacle) for p in left)
        + " ."
    )
