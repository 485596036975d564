"""One episode of a LeRobot data set as it is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.lerobot_kept_steps import KeptSteps
from analysis.episodes.lerobot_places import ImagePlace, VideoPlace
from analysis.types import EpisodeMeta, Step
from models.errors import UserError
from models.types import Observation, Rationale


@dataclass(frozen=True)
class LerobotEpisode:
    """One episode; rows are in memory, frames are decoded when asked for."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # as info.json names them; LeRobot states no units
    states: Float[np.ndarray, "T S"] | None  # NaN or infinite where the data set has no number
    rationales: tuple[Rationale, ...]
    places: Mapping[str, VideoPlace | ImagePlace] = field(repr=False)  # camera -> where its frames are
    kept: KeptSteps | None = field(default=None, repr=False)  # phases and objects, where an export kept them
    instructions: tuple[str, ...] = ()  # one a step, where the episode has several tasks

    def step(self, index: int) -> Step:
        """The moment ``index`` with its frames decoded. Raises UserError for a frame that is missing or damaged.

        It has a state only where every number of it is recorded: a policy would make something of NaN.
        """
        self._check_index(index)
        phase, objects = self.kept.at(index) if self.kept else ("", {})
        return Step(
            index=index,
            time=index / self.meta.fps,
            observation=Observation(
                images={camera: place.image(index) for camera, place in self.places.items()},
                instruction=self.instructions[index] if self.instructions else self.meta.instruction,
                state=self.states[index] if self.states is not None and np.isfinite(self.states[index]).all() else None,
            ),
            action=self.actions[index],
            phase=phase,
            objects=objects,
        )

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One camera's frame. Raises UserError for an unknown camera and a frame that is missing or damaged."""
        return self._place(camera, index).image(index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """Stored JPEG or PNG bytes as they are; a video's frame as a JPEG of quality 92."""
        return self._place(camera, index).encoded(index)

    def _place(self, camera: str, index: int) -> VideoPlace | ImagePlace:
        self._check_index(index)
        if camera not in self.places:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.places)}"
            )
        return self.places[camera]

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.meta.length:
            raise UserError(
                f"episode {self.meta.id!r} has steps 0 to {self.meta.length - 1}; step {index} was asked for"
            )
