"""Input x gradient: the value's first-order part in each position's embedding (Shrikumar et al., 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from captum.attr import InputXGradient as Captum

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.explained import Explained, why_no_gradient
from analysis.attribution.settings import settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class InputGradient:
    """Embedding times gradient, summed over the embedding's width."""

    name: ClassVar[str] = "input-gradient"
    title: ClassVar[str] = "Input × gradient"
    signed: ClassVar[bool] = True

    def why_not(self, policy: Policy) -> str | None:
        return why_no_gradient(policy)

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
        explained = Explained(policy, observation, said, target, progress, cancelled)
        products = Captum(explained).attribute(explained.inputs.clone().requires_grad_(True))[0]
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores(products.sum(dim=1)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            forwards=explained.forwards,
        )
