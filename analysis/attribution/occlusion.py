"""Occlusion: hide a square of patches, slide it over the image, see what changes (Zeiler and Fergus, 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import Fill, Hiding, laid_out, windows
from analysis.attribution.perturbing import change, described, why_not
from analysis.attribution.scoring import Scorer, Words
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.errors import UserError
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class Occlusion:
    """A position's score is the mean, over the squares that cover its patch, of value minus value when hidden."""

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    signed: ClassVar[bool] = True

    size: int = setting(2, "patches along a side of the hidden square", least=1)
    stride: int = setting(1, "patches that the square moves by", least=1)
    fill: Fill = setting("mean", "what hidden pixels become")
    words: Words = setting("held", "whether the policy says its own rationale again or may write another")
    camera: str | None = setting(None, "the image that is hidden from; all if empty")

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
        if self.stride > self.size:
            raise UserError(
                f"the stride {self.stride} is larger than the square's {self.size} patches: some stay unseen"
            )
        said = prediction if prediction is not None else policy.predict(observation)
        found = windows(observation, said.layout, self.camera, self.size, self.stride)
        scorer, hiding = Scorer(policy, observation, said, target, self.words), Hiding(observation, self.fill)
        values = scorer((hiding([each]) for each in found), len(found), progress, cancelled)
        scores = laid_out(said.layout, found, change(scorer, values), overlapping=True)
        return AttributionMap(
            layout=said.layout,
            scores=scores,
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=not target.vector,
            forwards=scorer.forwards,
            notes=described(scorer, found),
        )
