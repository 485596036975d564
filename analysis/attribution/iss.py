"""ISS: random masks on image regions, and how far the action moves when a region is hidden."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import Feature, Fill, Hiding, SeenObject, features, laid_out
from analysis.attribution.perturbing import described, squared_change, why_not
from analysis.attribution.scoring import Scorer, Words
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.errors import UserError
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class InterventionalSignificance:
    """Interventional significance (arXiv 2605.00321): every mask hides each region with the same probability; a
    region's score is the mean squared change of the action over the masks that hide it, unsigned, with its standard
    error over those masks. Every patch of a region has the region's score.
    """

    name: ClassVar[str] = "iss"
    title: ClassVar[str] = "Interventional significance (ISS)"
    signed: ClassVar[bool] = False

    masks: int = setting(128, "random masks", least=4)
    hidden: float = setting(0.3, "probability that a mask hides a region, between 0 and 1", least=0)
    over: Literal["regions", "patches", "objects"] = setting("regions", "what a mask hides")
    side: int = setting(8, "regions along a side of the image", least=1)
    fill: Fill = setting("mean", "what hidden pixels become")
    words: Words = setting("held", "whether the policy says its own rationale again or may write another")
    seed: int = setting(0, "of the random masks", least=0)
    camera: str | None = setting(None, "the image that is hidden from; all if empty")
    seen: tuple[SeenObject, ...] = field(default=(), metadata={"from_step": True})

    def why_not(self, policy: Policy) -> str | None:
        return why_not(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        said = prediction if prediction is not None else policy.predict(observation)
        found = features(self.over, observation, said, camera=self.camera, side=self.side, seen=self.seen)
        masks = random_masks(self.masks, len(found), self.hidden, self.seed)
        scorer, hiding = Scorer(policy, observation, said, target, self.words), Hiding(observation, self.fill)
        changed = (hiding([found[i] for i in np.flatnonzero(mask)]) for mask in masks)
        moved = squared_change(scorer, scorer(changed, len(masks), progress, cancelled))
        scores, errors = significance(masks, moved)
        return AttributionMap(
            layout=said.layout,
            scores=_spread(said, found, scores),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            standard_error=_spread(said, found, errors),
            forwards=scorer.forwards,
            notes=described(scorer, found) | {"masks": self.masks, "fewest masks a region": int(masks.sum(0).min())},
        )


def random_masks(count: int, regions: int, hidden: float, seed: int) -> Bool[np.ndarray, "M F"]:
    """True where a mask hides a region, each with probability ``hidden``.

    Raises UserError where a region would be hidden by fewer than two masks, which leaves no standard error.
    """
    if not 0 < hidden < 1:
        raise UserError(f"the probability that a mask hides a region is {hidden:g}; it must lie between 0 and 1")
    masks = np.random.default_rng(seed).random((count, regions)) < hidden
    if (masks.sum(axis=0) < 2).any():
        raise UserError(
            f"{count} masks that hide a region with probability {hidden:g} leave a region that fewer than two of them "
            f"hide; use more masks or a larger probability"
        )
    return masks


def significance(
    masks: Bool[np.ndarray, "M F"], moved: Float[np.ndarray, " M"]
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """Mean of ``moved`` over the masks that hide each region, and its standard error (sample deviation / sqrt(n))."""
    counts = masks.sum(axis=0)
    means = moved @ masks / counts
    spread = ((moved[:, None] - means) ** 2 * masks).sum(axis=0) / (counts - 1)
    return means, np.sqrt(spread / counts)


def _spread(said: Prediction, found: tuple[Feature, ...], values: Float[np.ndarray, " F"]) -> Float[np.ndarray, " K"]:
    return laid_out(said.layout, found, values, overlapping=True)
