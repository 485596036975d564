"""The state of the counter at one moment: all that the expert and the teacher are allowed to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sample_data.counter.tasks import APART, CLOSED, KNOB, LIFTED, NEAR, OPENED, THINGS, Goal, Kind

OPEN_GAP = 0.058  # metres between the fingers: more is an open gripper
EMPTY_GAP = 0.008  # less is a gripper that closed on nothing
HOME = 0.20  # metres over the counter


@dataclass(frozen=True)
class Moment:
    """Positions in metres in the robot's base frame (x forward, y left, z up), angles in radians."""

    goal: Goal
    position: Mapping[str, np.ndarray]  # of each thing in view and of the drawer's knob, [3]
    yaw: Mapping[str, float]
    opening: float  # of the drawer, metres
    tool: np.ndarray  # commanded position of the point between the fingers, [3]
    tilt: np.ndarray  # commanded roll, pitch, yaw of the tool against pointing straight down, [3]
    gap: float  # measured, between the fingers

    @property
    def state(self) -> np.ndarray:
        """What a policy reads, in the order of the tabletop's STATE_NAMES, float32 [7]."""
        return np.array([*self.tool, *self.tilt, self.gap], dtype=np.float32)

    @property
    def is_open(self) -> bool:
        """The gripper, not the drawer."""
        return self.gap > OPEN_GAP

    def holds(self, name: str) -> bool:
        """Whether the fingers are closed on it, as far as gap and position tell."""
        offset = self.position[name] - self.tool
        near = np.linalg.norm(offset[:2]) < 0.035 and abs(offset[2]) < 0.035
        return bool(near and EMPTY_GAP < self.gap <= OPEN_GAP)

    def is_reached(self) -> bool:
        """Whether things are as the task wants them, held or not."""
        match self.goal.kind:
            case Kind.PICK:
                return bool(self.position[self.goal.thing][2] > THINGS[self.goal.thing].half_height + LIFTED)
            case Kind.NEAR:
                on_counter = self.position[self.goal.thing][2] < THINGS[self.goal.thing].half_height + 0.015
                return bool(on_counter and self.distance_to_target() < NEAR and self.is_nearest())
            case Kind.OPEN:
                return self.opening > OPENED
            case Kind.CLOSE:
                return self.opening < CLOSED

    def distance_to_target(self) -> float:
        """Between the centres of the thing and of what it is brought near, metres along the counter."""
        return float(np.linalg.norm((self.position[self.goal.thing] - self.position[self.goal.target])[:2]))

    def is_nearest(self) -> bool:
        """Whether nothing else lies nearer to the thing than its target."""
        here = self.position[self.goal.thing][:2]
        others = [p for name, p in self.position.items() if name not in (self.goal.thing, self.goal.target, KNOB)]
        return all(np.linalg.norm(other[:2] - here) > self.distance_to_target() for other in others)

    def beside_target(self) -> np.ndarray:
        """Where on the counter the thing goes: beside its target, on the side away from the other things, [2]."""
        target = self.position[self.goal.target][:2]
        others = [p for name, p in self.position.items() if name not in (self.goal.thing, self.goal.target)]
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        spots = target + APART * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        clear = np.min([np.linalg.norm(spots - other[:2], axis=1) for other in others], axis=0)
        reach = np.abs(spots[:, 0] - 0.36) / 2 + np.abs(spots[:, 1]) / 3
        return np.asarray(spots[np.argmax(np.minimum(clear, 0.14) - reach)])
