"""One policy at one step of an episode: what every probe is given. Its answer is computed when first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from analysis.cameras import CameraPlan
from analysis.evidence.drawn import NOTHING_DRAWN, DrawnBoxes
from analysis.metrics.coverage import object_mask, patch_coverage, visible_share
from analysis.things import is_robot, named_things, things_in_view
from analysis.types import Episode, Step
from models.policy import Policy
from models.types import Capture, Observation, Part, PatchGrid, Prediction

T = TypeVar("T")


@dataclass(frozen=True)
class Covered:
    """Which part of each patch of one image things cover, 0 to 1."""

    named: Float[np.ndarray, "R C"]  # by what the instruction names
    with_robot: Float[np.ndarray, "R C"]  # by that and the robot
    visible: Float[np.ndarray, "R C"]  # by the frame
    names: tuple[str, ...]  # of the named things


@dataclass
class Moment:
    """Not frozen, because it remembers what was computed; it lives for one step."""

    policy: Policy
    episode: Episode
    step: Step
    cameras: CameraPlan
    drawn: DrawnBoxes = NOTHING_DRAWN  # what a person drew
    still: Callable[[], None] = lambda: None  # called between forwards of what takes long; may raise to stop it
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made when first asked for: several probes share a map that took many forwards."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def seed(self, seed: int) -> int:
        """A seed of this step: what is drawn at random must not be the same in every episode."""
        text = f"{seed} {self.episode.meta.digest} {self.step.index}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    @cached_property
    def observation(self) -> Observation:
        return self.cameras.seen(self.step.observation)

    @cached_property
    def answer(self) -> Prediction:
        """What the policy says, with the attention of what it wrote."""
        return self.policy.predict(self.observation, Capture())

    def answered(self, capture: Capture) -> Prediction:
        """The same with the rows that ``capture`` asks for."""
        if capture == Capture():
            return self.answer
        return self.once(capture, lambda: self.policy.predict(self.observation, capture))

    def names_in_view(self) -> list[str]:
        """What is known to be on the first camera's frame, the robot left out."""
        camera = next(iter(self.cameras.episode_names.values()), "")
        things = things_in_view(self.step, camera, self.drawn.at(camera, self.step.index))
        return [thing.name for thing in things if not is_robot(thing)]

    def grid(self, camera: str) -> PatchGrid | None:
        """Where the patches of one image lie; None where they form no single grid."""
        grids = [span.grid for span in self.answer.layout.spans if span.part is Part.IMAGE and span.name == camera]
        return grids[0] if len(grids) == 1 else None

    def covered(self, camera: str) -> Covered | None:
        """``camera``: the policy's name. None without a grid, or where nothing that is named has a place."""
        grid = self.grid(camera)
        if grid is None:
            return None
        own = self.cameras.episode_names.get(camera, camera)
        drawn = self.drawn.at(own, self.step.index)
        things = things_in_view(self.step, own, drawn)
        wanted = named_things(things, self.observation.instruction, drawn)
        if not wanted:
            return None
        height, width = self.observation.images[camera].shape[:2]
        named = patch_coverage(grid, object_mask(wanted, height, width))
        if not named.any():  # out of view: its mask is there, and empty
            return None
        robot = [thing for thing in things if is_robot(thing)]
        return Covered(
            named,
            patch_coverage(grid, object_mask([*wanted, *robot], height, width)),
            visible_share(grid, height, width),
            tuple(thing.name for thing in wanted),
        )
