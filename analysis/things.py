"""Which things of a step count as what the instruction names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analysis.metrics.coverage import Box
from analysis.types import SceneObject, Step

ROBOT = re.compile(r"\b(robot|gripper|arm|hand|end.?effector)\b", re.IGNORECASE)


def words_of(text: str) -> tuple[str, ...]:
    """Words in small letters; digits and letters of any script, a trailing plural s left out."""
    return tuple(word.removesuffix("s") or word for word in re.findall(r"[^\W_]+", text.lower()))


def named(name: str, instruction: str) -> bool:
    """Whether the words of a thing's name stand in the instruction, one after the other ("green block")."""
    wanted, said = words_of(name), words_of(instruction)
    length = len(wanted)
    return length > 0 and any(said[place : place + length] == wanted for place in range(len(said) - length + 1))


def is_robot(thing: SceneObject) -> bool:
    return ROBOT.search(thing.name.replace("_", " ")) is not None


def things_in_view(step: Step, camera: str, drawn: Mapping[str, Box] | None = None) -> tuple[SceneObject, ...]:
    """What is known to be on the frame of ``camera``: the episode's masks and boxes, then boxes that a person drew.

    ``drawn``: name -> box in pixels of the original frame; a drawn box takes the place of a thing of its name.
    """
    added = tuple(SceneObject(name, box=box) for name, box in (drawn or {}).items())
    known = tuple(thing for thing in step.objects.get(camera, ()) if thing.name not in (drawn or {}))
    return tuple(thing for thing in (*known, *added) if thing.mask is not None or thing.box is not None)


def named_things(
    things: Sequence[SceneObject], instruction: str, drawn: Mapping[str, Box] | None = None
) -> tuple[SceneObject, ...]:
    """The things that the instruction names; a box that a person drew counts whatever its name is, but for a robot."""
    return tuple(
        thing
        for thing in things
        if not is_robot(thing) and (named(thing.name, instruction) or thing.name in (drawn or {}))
    )
