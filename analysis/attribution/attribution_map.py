"""The result of an attribution: one score a position of the sequence. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from analysis.attention_map import image_map
from analysis.attribution.target import Target
from analysis.records import Setting
from models.types import TokenLayout


@dataclass(frozen=True)
class AttributionMap:
    """How much each position of the sequence has to do with the target, as one method sees it."""

    layout: TokenLayout  # of the whole sequence, as in Prediction.layout
    scores: Float[np.ndarray, " K"]  # zero where nothing was attributed; unit: the target's, or 1 for attention
    method: str  # name in the registry
    settings: Mapping[str, Setting]  # every visible setting of the method
    target: Target
    signed: bool  # whether a negative score means something: the position spoke against the target
    standard_error: Float[np.ndarray, " K"] | None = None  # of sampled scores, in their unit
    convergence_delta: float | None = None  # sum of the scores minus what they should sum to; in their unit
    forwards: int = 0  # observations that the policy was run on
    notes: Mapping[str, Setting] = field(default_factory=dict)  # what a caption should say besides: masks, layers ...

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.layout.tokens),):
            raise ValueError(f"{len(self.scores)} scores for a sequence of {len(self.layout.tokens)} positions")

    def image(self, camera: str | None = None) -> Float[np.ndarray, "R C"]:
        """The scores of one image as rows and columns of its patches. Raises UserError where there is no one grid."""
        return image_map(self.scores, self.layout, camera)
