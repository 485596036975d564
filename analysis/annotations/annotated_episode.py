"""An episode with the annotations that were found for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from analysis.annotations.ecot import CAMERA, EcotAnnotation
from analysis.types import Episode, EpisodeMeta, SceneObject, Step
from models.types import Rationale


@dataclass(frozen=True)
class AnnotatedEpisode:
    """Another episode, to whose rationales and boxes those of the annotations are added."""

    episode: Episode
    annotation: EcotAnnotation
    camera: str  # whose frames the boxes lie on

    @classmethod
    def join(cls, episode: Episode, annotation: EcotAnnotation) -> AnnotatedEpisode:
        """The boxes go to camera ``image_0``, from which the annotations were made, else to the first."""
        cameras = episode.meta.cameras
        return cls(episode, annotation, CAMERA if CAMERA in cameras else cameras[0])

    @property
    def meta(self) -> EpisodeMeta:
        return annotated(self.episode.meta, self.annotation.digest, bool(self.rationales))

    @property
    def actions(self) -> Float[np.ndarray, "T D"]:
        """Robot units, named in ``meta.action_units``."""
        return self.episode.actions

    @property
    def states(self) -> Float[np.ndarray, "T S"] | None:
        """Units: ``meta.state_units``."""
        return self.episode.states

    @property
    def rationales(self) -> tuple[Rationale, ...]:
        own = self.episode.rationales  # an exported episode brings its annotations with it
        added = self.annotation.rationales_within(self.episode.meta.length)
        return (*own, *(said for said in added if said not in own))

    def step(self, index: int) -> Step:
        """The moment ``index``, with the boxes in pixels of the episode's own frame. Raises UserError as it does."""
        step = self.episode.step(index)
        height, width, _ = step.observation.images[self.camera].shape
        own = step.objects.get(self.camera, ())
        added = [seen for seen in self.annotation.objects(index, width, height) if not _among(seen, own)]
        return replace(step, objects={**step.objects, self.camera: (*own, *added)} if added else step.objects)

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return self.episode.frame(camera, index)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        return self.episode.encoded_frame(camera, index)


def annotated(meta: EpisodeMeta, digest: str, has_rationale: bool) -> EpisodeMeta:
    """What is known of an episode with one more annotation, named by its digest."""
    digests = f"{meta.annotated} {digest}".strip()
    return replace(meta, annotated=digests, has_rationale=has_rationale or meta.has_rationale)


def _among(seen: SceneObject, own: Sequence[SceneObject]) -> bool:
    return any((seen.name, seen.box) == (thing.name, thing.box) for thing in own)
