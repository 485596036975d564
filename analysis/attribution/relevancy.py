"""Relevancy: attention x gradient passed on from layer to layer (Chefer, Gur and Wolf, 2021, arXiv 2103.15679)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
class Relevancy:
    """The self-attention rule of the generic method, without LRP: R starts as the identity; for every layer from the
    bottom up R <- R + E R with E = mean over heads of max(A * dvalue/dA, 0), no normalisation. A position's score is
    (R - identity) at the query row that produced the target, the mean of the rows where it has several tokens.
    """

    name: ClassVar[str] = "relevancy"
    title: ClassVar[str] = "Relevancy (Chefer et al.)"
    signed: ClassVar[bool] = False

    first_layer: int = setting(0, "layers below it are left out", least=0)

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
        check_layers((self.first_layer,), policy.info.layers)
        said = prediction if prediction is not None else policy.predict(observation)
        explained = Explained(policy, observation, said, target, progress, cancelled)
        watched = MapGradients(_positive_mean)
        with watching_maps(watched):
            _, value = gradient(explained, explained.inputs)
        if not watched.layers:
            raise UserError(f"{policy.info.name} does not run its attention where it can be watched")
        queries = list(explained.queries)
        # only the target's rows are needed: R's rows are those of (I + E_top) ... (I + E_first), from the left
        length = watched.layers[0].shape[-1]
        flow = torch.eye(length, dtype=torch.float64)[queries]
        identity = flow.clone()
        for layer in sorted(watched.layers, reverse=True):
            if layer >= self.first_layer:
                flow = flow + flow @ watched.layers[layer].double().cpu()
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores((flow - identity).mean(dim=0)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            forwards=explained.forwards,
            notes={"value": value},
        )


def _positive_mean(maps: Tensor, slopes: Tensor) -> Tensor:
    return (maps * slopes).clamp(min=0).mean(dim=1)[0]
