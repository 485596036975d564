"""The tasks of the counter, after those of the Google Robot's benchmark: pick, move near, open or close a drawer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from sample_data.world.tasks import ROBOT


class Kind(StrEnum):
    PICK = "pick can"
    NEAR = "move near"
    OPEN = "open drawer"
    CLOSE = "close drawer"


KINDS = tuple(Kind)


@dataclass(frozen=True)
class Thing:
    """Sizes in metres."""

    name: str
    half_height: float
    half_width: float  # across the closing fingers
    grasp_height: float  # of the tool over the counter when the fingers close
    radius: float  # free circle around it when things are laid out


THINGS = {
    thing.name: thing
    for thing in (
        Thing("can", 0.045, 0.025, 0.050, 0.040),
        Thing("apple", 0.026, 0.024, 0.028, 0.040),
        Thing("sponge", 0.016, 0.022, 0.025, 0.050),
        Thing("lemon", 0.020, 0.018, 0.025, 0.042),
    )
}
MOVABLE = tuple(THINGS)
DRAWER, KNOB = "drawer", "knob"
LABELS = ("background", ROBOT, *MOVABLE, DRAWER)  # values of the label images
OPENED, CLOSED, TRAVEL = 0.10, 0.012, 0.14  # metres: more is open, less is closed, as far as it goes
NEAR, APART = 0.115, 0.090  # metres between centres: less is near, and where the expert puts it
LIFTED = 0.06  # metres over where it stood

_PICK = ("pick up the {thing}", "pick the {thing}", "lift the {thing}", "grab the {thing} and lift it")
_NEAR = (
    "move the {thing} near the {target}",
    "put the {thing} near the {target}",
    "place the {thing} next to the {target}",
    "bring the {thing} close to the {target}",
)
_OPEN = ("open the drawer", "pull the drawer open", "slide the drawer open")
_CLOSE = ("close the drawer", "push the drawer shut", "shut the drawer")
WORDINGS = {Kind.PICK: _PICK, Kind.NEAR: _NEAR, Kind.OPEN: _OPEN, Kind.CLOSE: _CLOSE}


@dataclass(frozen=True)
class Goal:
    kind: Kind
    thing: str  # what is gripped or pushed; KNOB for the drawer
    target: str  # what it is brought near; empty for the others

    @property
    def with_drawer(self) -> bool:
        return self.kind in (Kind.OPEN, Kind.CLOSE)

    def worded(self, rng: np.random.Generator) -> str:
        """One of the ways to ask for it."""
        return str(rng.choice(WORDINGS[self.kind])).format(thing=self.thing, target=self.target)
