"""The state of the table at one moment: all that the expert and the teacher are allowed to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sample_data.world.tasks import BLOCKS, TASKS, THINGS, Task

STATE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gap")
STATE_UNITS = ("m", "m", "m", "rad", "rad", "rad", "m")
ACTION_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")  # gripper: 1 open, 0 closed
OPEN_GAP = 0.060  # metres between the fingers: more is an open gripper
EMPTY_GAP = 0.008  # less is a gripper that closed on nothing


@dataclass(frozen=True)
class Moment:
    """Positions in metres in the robot's base frame (x forward, y left, z up), angles in radians."""

    task: str
    position: Mapping[str, np.ndarray]  # of each thing in view, [3]
    yaw: Mapping[str, float]
    tool: np.ndarray  # commanded position of the point between the fingers, [3]
    tilt: np.ndarray  # commanded roll, pitch, yaw of the tool against pointing straight down, [3]
    gap: float  # measured, between the fingers

    @property
    def goal(self) -> Task:
        return TASKS[self.task]

    @property
    def state(self) -> np.ndarray:
        """What the policy reads, in the order of STATE_NAMES, float32 [7]."""
        return np.array([*self.tool, *self.tilt, self.gap], dtype=np.float32)

    @property
    def is_open(self) -> bool:
        return self.gap > OPEN_GAP

    def holds(self, name: str) -> bool:
        """Whether the fingers are closed on it, as far as gap and position tell."""
        offset = self.position[name] - self.tool
        near = np.linalg.norm(offset[:2]) < 0.035 and abs(offset[2]) < 0.03
        return bool(near and EMPTY_GAP < self.gap <= OPEN_GAP)

    def is_placed(self) -> bool:
        """Whether the thing lies where the task wants it, held or not."""
        thing, receptacle = self.position[self.goal.thing], self.position[self.goal.receptacle]
        dx, dy = np.abs(thing[:2] - receptacle[:2])
        distance, height = float(np.hypot(dx, dy)), thing[2]
        match self.goal.receptacle:
            case "towel":
                return bool(dx < 0.070 and dy < 0.058 and height < 0.03)
            case "plate":
                return distance < 0.058 and height < 0.035
            case "basket":
                return bool(dx < 0.058 and dy < 0.050 and height < 0.04)
            case _:
                return distance < 0.025 and 0.05 < height < 0.075

    def grasp_yaw(self, name: str) -> float:
        """The smallest turn of the tool that lines the fingers up with the thing."""
        period = np.pi / 2 if name in BLOCKS else np.pi
        return float((self.yaw[name] + period / 2) % period - period / 2)

    def grasp_height(self, name: str) -> float:
        thing = THINGS[name]
        return float(max(0.006, self.position[name][2] - thing.half_height + thing.grasp_height))
