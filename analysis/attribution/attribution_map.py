"""The result of an attribution: one score a position of the sequence. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from analysis.attention_map import image_map
from analysis.attribution.target import Target
from analysis.records import Setting
from models.types import TokenLayout

CONVERGED = 0.05  # share of the change up to which scores count as adding up to it


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

    @property
    def missing_share(self) -> float | None:
        """The convergence delta as a share of the |change| that the scores should add up to: 0.67 or -0.67 where two
        thirds of it are missing or too much. None without a delta or a change.
        """
        ends = self.notes.get("value"), self.notes.get("value at the baseline")
        if self.convergence_delta is None or not isinstance(ends[0], float) or not isinstance(ends[1], float):
            return None
        change = ends[0] - ends[1]
        return -self.convergence_delta / change if change else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """How far the map can be trusted by its own numbers, as a caption says it: convergence, standard error."""
        said = []
        if self.convergence_delta is not None:
            said.append(f"convergence delta {self.convergence_delta:+.3g}{self._not_converged()}")
        if self.standard_error is not None:
            top = int(np.abs(self.scores).argmax())
            error, score = self.standard_error[top], self.scores[top]
            said.append(f"standard error {error:.3g} at the highest score {score:.3g}")
        return tuple(said)

    def _not_converged(self) -> str:
        share = self.missing_share
        if share is None or not math.isfinite(share):
            return ""
        percent = 100 * abs(share)
        size = f"{percent:.0f}" if percent >= 1 else f"{percent:.2g}"
        warning = f", more than {100 * CONVERGED:.0f} %: take more steps" if abs(share) > CONVERGED else ""
        return f" ({size} % of the change {'is missing' if share > 0 else 'too much'}{warning})"

    def image(self, camera: str | None = None) -> Float[np.ndarray, "R C"]:
        """The scores of one image as rows and columns of its patches. Raises UserError where there is no one grid."""
        return image_map(self.scores, self.layout, camera)
