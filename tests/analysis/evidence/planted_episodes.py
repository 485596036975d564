"""Episodes for policies with a planted truth: frames of 16 x 16 pixels with a cup on patch 5 and a bowl on patch 10."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analysis.cameras import plan_cameras
from analysis.episodes.raw_frame import as_png
from analysis.evidence.measurements import Subject
from analysis.types import EpisodeMeta, SceneObject, Step
from models.planted import GRID, NAMES
from models.types import Observation, Rationale

SIDE = 16
PATCH = SIDE // GRID
CUP, BOWL = 5, 10  # patches


def box(patch: int) -> tuple[float, float, float, float]:
    row, column = divmod(patch, GRID)
    return (column * PATCH, row * PATCH, (column + 1) * PATCH, (row + 1) * PATCH)


@dataclass
class PlantedEpisode:
    """Noise frames that differ from step to step."""

    number: int
    instruction: str = "take the red cup"
    meta: EpisodeMeta = field(init=False)
    rationales: tuple[Rationale, ...] = ()
    states: None = None
    length: int = 6

    def __post_init__(self) -> None:
        self.meta = EpisodeMeta(
            id=f"planted-{self.number}",
            source="",
            instruction=self.instruction,
            length=self.length,
            fps=5.0,
            cameras=("front",),
            success=True,
            action_names=NAMES,
            action_units=("1", "1"),
            digest=f"{self.number:016x}",
        )
        self.actions = np.full((self.length, len(NAMES)), 0.5)

    def frame(self, camera: str, index: int) -> np.ndarray:
        random = np.random.default_rng(1000 * self.number + index)
        patches = random.integers(0, 256, (GRID, GRID, 1), dtype=np.uint8)
        return np.repeat(np.repeat(np.repeat(patches, PATCH, 0), PATCH, 1), 3, 2)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return as_png(self.frame(camera, index)), "image/png"

    def step(self, index: int) -> Step:
        things = (SceneObject("red cup", box=box(CUP)), SceneObject("blue bowl", box=box(BOWL)))
        seen = Observation({"front": self.frame("front", index)}, self.instruction)
        return Step(index, index / 5, seen, self.actions[index], objects={"front": things})


def subjects(count: int, instruction: str = "take the red cup") -> list[Subject]:
    out = []
    for number in range(1, count + 1):
        episode = PlantedEpisode(number, instruction)
        out.append(Subject(episode, plan_cameras((), episode.meta.cameras)))
    return out
