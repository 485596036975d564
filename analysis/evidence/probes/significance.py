"""Where hiding the image moves the action: ISS, and how much of it lies on the named things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from analysis.attribution.target import Target
from analysis.evidence.asked_map import ISS
from analysis.evidence.maps import explained
from analysis.evidence.moment import Moment
from analysis.evidence.on_image import grounding_values, single_images
from analysis.evidence.probe import Values
from analysis.records import Setting
from models.policy import Policy


@dataclass(frozen=True)
class SignificanceProbe:
    """The same numbers as of attention, of the map of interventional significance."""

    masks: int = 64
    side: int = 8
    fill: str = "blur"
    seed: int = 0

    name: ClassVar[str] = "significance"
    version: ClassVar[int] = 2

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.action_space is not None else f"{policy.info.name} predicts no actions"

    def settings(self) -> dict[str, Setting]:
        return {"masks": self.masks, "side": self.side, "fill": self.fill, "seed": self.seed}

    def __call__(self, moment: Moment) -> Values:
        return grounding_values("significance", moment, self.maps(moment))

    def maps(self, moment: Moment) -> dict[str, Float[np.ndarray, "R C"]]:
        """Of each image; masks are drawn anew at every step."""
        settings: dict[str, Setting] = {"masks": self.masks, "side": self.side, "fill": self.fill}
        found = explained(ISS, settings, moment, Target(scalar="action"), self.seed)
        return {camera: found.image(camera) for camera in single_images(moment)}
