"""Feature ablation: hide one patch, region, object or word at a time and see what changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import Fill, Hiding, Over, SeenObject, features, laid_out
from analysis.attribution.perturbing import change, described, why_not
from analysis.attribution.scoring import Scorer, Words
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class FeatureAblation:
    """A feature's score is value minus value when hidden, shared evenly by its positions."""

    name: ClassVar[str] = "ablation"
    title: ClassVar[str] = "Feature ablation"
    signed: ClassVar[bool] = True

    over: Over = setting("patches", "what is hidden, one at a time")
    side: int = setting(4, "regions along a side of the image", least=1)
    fill: Fill = setting("mean", "what hidden pixels become")
    words: Words = setting("held", "whether the policy says its own rationale again or may write another")
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
        hiding = Hiding(observation, self.fill, said.rationale)
        scorer = Scorer(policy, observation, said, target, self.words, by_predicting=self.over == "rationale")
        values = scorer((hiding.told([each]) for each in found), len(found), progress, cancelled)
        return AttributionMap(
            layout=said.layout,
            scores=laid_out(said.layout, found, change(scorer, values)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=not target.vector,
            forwards=scorer.forwards,
            notes=described(scorer, found),
        )
