"""Saliency: how steep the value is in each position's embedding (Simonyan, Vedaldi and Zisserman, 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from captum.attr import Saliency as Captum

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.explained import Explained, why_no_gradient
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class Saliency:
    """The length of the gradient over the embedding's width; unsigned."""

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    signed: ClassVar[bool] = False

    norm: Literal["L2", "L1"] = setting("L2", "how the gradient's entries are put together")

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
        slopes = Captum(explained).attribute(explained.inputs.clone().requires_grad_(True), abs=True)[0]
        scores = slopes.norm(dim=1) if self.norm == "L2" else slopes.sum(dim=1)
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores(scores),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            forwards=explained.forwards,
        )
