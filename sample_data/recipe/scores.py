"""Whether a generated rationale is true of the moment it speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.types import Rationale
from sample_data.world.moment import Moment
from sample_data.world.tasks import FIXED, MOVABLE
from sample_data.world.teacher import explain

_NAMES = tuple(sorted(MOVABLE + FIXED, key=len, reverse=True))
_OFFSET = re.compile(r"(\d+) cm (forward|back|left|right)")


@dataclass(frozen=True)
class RationaleScore:
    """Each field: whether that part of the rationale is right."""

    well_formed: bool  # four parts, none empty
    thing: bool  # the task's thing is named as such
    receptacle: bool
    in_view: bool  # exactly the things in view are listed
    gripper: bool  # the same state of the gripper and the thing as the teacher's
    direction: bool  # speaks of the right thing, no direction is opposite, none of 2 cm or more invented or missing
    next_step: bool  # the first planned sub-action


def score(rationale: Rationale | None, moment: Moment) -> RationaleScore:
    """Compare with what the teacher would have said."""
    if rationale is None or not all(
        rationale.parts.get(part) for part in ("observation", "situation", "spatial", "planning")
    ):
        return RationaleScore(*[False] * 7)
    said, truth = rationale.parts, explain(moment).parts
    goal = moment.goal
    task = said["situation"].split(";")[0]
    return RationaleScore(
        well_formed=True,
        thing=task.startswith(f"the {goal.thing} goes"),
        receptacle=task.strip().endswith(f"the {goal.receptacle}"),
        in_view=set(_named(said["observation"])) == set(moment.position),
        gripper=said["situation"].split(";")[-1].strip() == truth["situation"].split(";")[-1].strip(),
        direction=_direction_right(said["spatial"], truth["spatial"]),
        next_step=said["planning"].split(",")[0].strip(" .") == truth["planning"].split(",")[0].strip(" ."),
    )


def _named(text: str) -> list[str]:
    found = []
    for name in _NAMES:
        if name in text:
            found.append(name)
            text = text.replace(name, "")
    return found


def _direction_right(said: str, truth: str) -> bool:
    if said.split(" is ")[0] != truth.split(" is ")[0]:
        return False  # speaks of another thing
    told = {word: int(amount) for amount, word in _OFFSET.findall(said)}
    real = {word: int(amount) for amount, word in _OFFSET.findall(truth)}
    invented = any(amount >= 2 and word not in real for word, amount in told.items())
    missing = any(amount >= 2 and word not in told for word, amount in real.items())
    opposite = {"forward": "back", "back": "forward", "left": "right", "right": "left"}
    return not (invented or missing or any(opposite[word] in real for word in told))
