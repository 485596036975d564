"""Training frames as demonstrations for ``models.refine``: moments drawn anew, expert's action, teacher's words."""

from __future__ import annotations

import numpy as np

from models.refine.demonstrations import Demonstration
from models.types import Observation
from sample_data.recipe import samples
from sample_data.recipe.frames import Frames
from sample_data.world.expert import decide
from sample_data.world.scene import CAMERA
from sample_data.world.teacher import explain


class FrameDemonstrations:
    """Two thirds of the samples are posed frames, one third comes out of episodes and rollouts."""

    def __init__(self, frames: Frames, seed: int) -> None:
        self.frames, self.seed = frames, seed
        self._posed, self._lived = np.flatnonzero(frames.posed), np.flatnonzero(~frames.posed)

    def draw(self, number: int) -> Demonstration:
        rng = np.random.default_rng([self.seed, number])
        rows = self._lived if number % 3 == 2 or not len(self._posed) else self._posed
        row = int(rng.choice(rows))
        moment = samples.redraw(self.frames, row, rng)
        goal = moment.goal
        instruction = goal.wordings[rng.integers(len(goal.wordings))]
        seen = Observation({CAMERA: self.frames.picture[row]}, instruction, moment.state)
        return Demonstration(seen, decide(moment).action[None], explain(moment))
