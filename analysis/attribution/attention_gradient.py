"""Attention x gradient: where the rows that produced the target look, weighted by what that does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.explained import Explained, gradient, why_no_single_pass
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.capture import MapGradients, check_layers, watching_maps
from models.errors import UserError
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class AttentionGradient:
    """score[k] = mean over layers and heads of the sum over the target's query rows q of A[q, k] * dvalue/dA[q, k].

    "positive" drops negative products before the mean, as in Chefer et al. (2021) and Grad-SAM (Barkan et al., 2021).
    """

    name: ClassVar[str] = "attention-gradient"
    title: ClassVar[str] = "Attention × gradient"
    signed: ClassVar[bool] = True

    keep: Literal["both signs", "positive"] = setting("both signs", "which products count")
    layers: tuple[int, ...] | None = setting(None, "layers of the language model; all if empty", least=0)
    head: int | None = setting(None, "one head of these layers; all if empty", least=0)

    def why_not(self, policy: Policy) -> str | None:
        return why_no_single_pass(policy)

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
        if (reason := self.why_not(policy)) is not None:
            raise UserError(reason)
        check_layers(self.layers, policy.info.layers)
        if self.head is not None and self.head >= policy.info.heads:
            raise UserError(f"there is no head {self.head}; the policy has heads 0 to {policy.info.heads - 1}")
        said = prediction if prediction is not None else policy.predict(observation)
        explained = Explained(policy, observation, said, target, progress, cancelled)
        queries = list(explained.queries)

        def products(maps: Tensor, slopes: Tensor) -> Tensor:
            found = maps[0][:, queries] * slopes[0][:, queries]
            found = found.clamp(min=0) if self.keep == "positive" else found
            by_head = found.sum(dim=1)
            return by_head.mean(dim=0) if self.head is None else by_head[self.head]

        watched = MapGradients(products)
        with watching_maps(watched):
            _, value = gradient(explained, explained.inputs)
        chosen = sorted(watched.layers) if self.layers is None else list(self.layers)
        if not watched.layers:
            raise UserError(f"{policy.info.name} does not run its attention where it can be watched")
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores(torch.stack([watched.layers[layer] for layer in chosen]).mean(dim=0)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.keep == "both signs",
            forwards=explained.forwards,
            notes={"value": value},
        )
