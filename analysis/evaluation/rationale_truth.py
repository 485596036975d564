"""Whether a rationale is true of the step it speaks of, as far as the data know. Pure; definitions in docs/evaluate.md.

Directions are the robot's: x forward, y left, in metres, as positions of things are stored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.things import words_of
from models.teachers.answer import invented_things
from models.types import Rationale

NEAR = 0.02  # metres: a nearer offset need not be told, a further one that is told must be there
TOUCHING = 0.005  # metres: nearer than that a thing lies neither way
WORDS: Mapping[str, tuple[int, int]] = {  # word -> axis, sign
    "forward": (0, 1), "ahead": (0, 1), "front": (0, 1), "further": (0, 1), "beyond": (0, 1),
    "back": (0, -1), "backward": (0, -1), "behind": (0, -1), "closer": (0, -1),
    "left": (1, 1), "right": (1, -1),
}  # fmt: skip
PARTS = ("observation", "situation", "spatial", "planning")
_NOT_DIRECTIONS = re.compile(r"\bright (now|away|above|below|here|there)\b")


@dataclass(frozen=True)
class Scene:
    """What is known of a step."""

    instruction: str
    things: tuple[str, ...]  # names in view, the robot left out
    positions: Mapping[str, Float[np.ndarray, " 3"]]  # metres, robot base frame
    gripper: Float[np.ndarray, " 3"] | None  # metres, the same frame


@dataclass(frozen=True)
class Judged:
    """True or false; None: cannot be told."""

    said: bool  # there is a rationale, with no empty part among those it should have
    object: bool | None  # the thing that the instruction names first is the first that the situation names
    receptacle: bool | None  # likewise the second
    direction: bool | None  # no direction is opposite, invented or missing, and a thing is named at all
    nothing_invented: bool | None  # names no thing that is not there


def judge(rationale: Rationale | None, scene: Scene, vocabulary: Collection[str]) -> Judged:
    """``vocabulary``: names that stand for things at all, such as those seen anywhere in the data set."""
    wanted = mentioned(scene.instruction, scene.things)
    if rationale is None or not rationale.text.strip():
        told = [False if len(wanted) > place else None for place in (0, 1)]
        return Judged(False, told[0], told[1], direction_right("", scene), None)
    parts = rationale.parts
    whole = all(parts.get(part, "").strip() for part in PARTS) if set(PARTS) & set(parts) else True
    said = mentioned(parts.get("situation") or rationale.text, scene.things)
    invented = invented_things(rationale.text, {*scene.things, scene.instruction}, vocabulary) if scene.things else None
    return Judged(
        said=whole,
        object=said[:1] == wanted[:1] if wanted else None,
        receptacle=said[1:2] == wanted[1:2] if len(wanted) > 1 else None,
        direction=direction_right(parts.get("spatial") or rationale.text, scene),
        nothing_invented=None if invented is None else not invented,
    )


def mentioned(text: str, names: Collection[str]) -> list[str]:
    """``names`` in the order in which ``text`` first says them; the longest name counts where several fit."""
    words, found = list(words_of(text)), []
    place = 0
    by_length = sorted(names, key=lambda name: len(words_of(name)), reverse=True)
    while place < len(words):
        for name in by_length:
            wanted = list(words_of(name))
            if wanted and words[place : place + len(wanted)] == wanted:
                found += [name] if name not in found else []
                place += len(wanted) - 1
                break
        place += 1
    return found


def direction_right(text: str, scene: Scene) -> bool | None:
    """Whether the first sentence of ``text`` puts its thing where it is, seen from what it names as reference.

    The thing is the first named; the reference is the next one, or the gripper. None where the data do not place one of
    them, or, of words that name no thing, where they could not have told the thing that the instruction names first.
    A direction is wrong if the thing lies less than half a centimetre that way; one told as under 2 cm only if it lies
    half a centimetre or more the other way, for such lengths are rounded. An offset of 2 cm or more must be told.
    """
    clause = re.split(r"[.;,]", _NOT_DIRECTIONS.sub(" ", text.lower()))[0]
    named = mentioned(clause, scene.things)
    thing = next(iter(named or mentioned(scene.instruction, scene.things)), None)
    seen_from_tool = re.search(r"\b(gripper|tool|hand|fingers)\b", clause) is not None or len(named) < 2
    origin = scene.gripper if seen_from_tool else scene.positions.get(named[1])
    place = scene.positions.get(thing) if thing is not None else None
    if origin is None or place is None or not np.isfinite([*origin[:2], *place[:2]]).all():
        return None
    if not named:
        return False
    offset = place[:2] - origin[:2]
    told = {WORDS[word]: amount for amount, word in _told(clause)}
    for (axis, sign), centimetres in told.items():
        little = centimetres is not None and centimetres < 100 * NEAR
        if sign * offset[axis] < (-TOUCHING if little else TOUCHING):
            return False
    axes = {axis for axis, _ in told}
    return all(axis in axes for axis in (0, 1) if abs(offset[axis]) >= NEAR)


def _told(clause: str) -> list[tuple[float | None, str]]:
    """Direction words with the centimetres that stand before them, where some do."""
    found = re.findall(r"(?:(\d+(?:\.\d+)?)\s*cm\s+(?:to\s+the\s+)?)?\b([a-z]+)\b", clause)
    return [(float(amount) if amount else None, word) for amount, word in found if word in WORDS]
