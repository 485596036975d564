"""An episode under the names, units and frame rate that its data set's description gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from analysis.dataset_description import DatasetDescription
from analysis.types import Episode, EpisodeMeta, Step
from models.errors import UserError
from models.types import Rationale

T = TypeVar("T")


@dataclass(frozen=True)
class DescribedEpisode:
    """Another episode, corrected."""

    episode: Episode
    meta: EpisodeMeta
    stored: Mapping[str, str]  # a camera's name here -> in the files

    @classmethod
    def corrected(cls, episode: Episode, description: DatasetDescription) -> DescribedEpisode:
        """What of ``description`` does not fit the episode is not applied; `DatasetDescription.misfits` names it."""
        states = episode.states
        dimensions = episode.actions.shape[1], None if states is None else states.shape[1]
        meta = description.applied(episode.meta, *dimensions)
        return cls(episode, meta, dict(zip(meta.cameras, episode.meta.cameras, strict=True)))

    @property
    def actions(self) -> Float[np.ndarray, "T D"]:
        """As stored; units: ``meta.action_units``."""
        return self.episode.actions

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None:
        """As stored; units: ``meta.state_units``."""
        return self.episode.states

    @property
    def rationales(self) -> tuple[Rationale, ...]:
        return self.episode.rationales

    def step(self, index: int) -> Step:
        """The moment ``index``; its time follows the corrected frame rate. Raises UserError as the episode does."""
        step = self.episode.step(index)
        images = self._renamed(step.observation.images)
        time = step.time if self.meta.fps == self.episode.meta.fps else index / self.meta.fps
        return replace(
            step, time=time, observation=replace(step.observation, images=images), objects=self._renamed(step.objects)
        )

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self.episode.frame(self._camera(camera), index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return self.episode.encoded_frame(self._camera(camera), index)

    def _camera(self, name: str) -> str:
        if name not in self.stored:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {name!r}; its cameras are {', '.join(self.stored)}"
            )
        return self.stored[name]

    def _renamed(self, values: Mapping[str, T]) -> dict[str, T]:
        here = {stored: name for name, stored in self.stored.items()}
        return {here.get(camera, camera): value for camera, value in values.items()}
