"""Integrated gradients on merged embeddings: image and words in one go (Sundararajan, Taly and Yan, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from captum.attr import IntegratedGradients as Captum
from jaxtyping import Float
from torch import Tensor

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.explained import Explained, why_no_gradient
from analysis.attribution.features import filled
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import Observation, Part, Prediction, TokenLayout


@dataclass(frozen=True)
class IntegratedGradients:
    """Captum's, from a baseline to what was read; summed over the embedding's width. The convergence delta says how
    far the scores are from adding up to the value's difference between the two ends.
    """

    name: ClassVar[str] = "integrated-gradients"
    title: ClassVar[str] = "Integrated gradients"
    signed: ClassVar[bool] = True

    baseline: Literal["mean embedding", "blurred image", "zero"] = setting(
        "mean embedding", "where the path starts: special tokens keep their embedding unless it is zero"
    )
    steps: int = setting(50, "points on the path, Gauss-Legendre", least=2)

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
        total = self.steps + 2  # the ends are needed for the delta
        explained = Explained(policy, observation, said, target, progress, cancelled, total)
        start = self._start(observation, said.layout, explained)
        scores, delta = Captum(explained).attribute(
            explained.inputs,
            baselines=start,
            n_steps=self.steps,
            method="gausslegendre",
            internal_batch_size=explained.batch_limit(),
            return_convergence_delta=True,
        )
        with torch.no_grad():
            ends = [float(explained(each)[0]) for each in (explained.inputs, start)]
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores(scores[0].sum(dim=1)),
            method=self.name,
            settings=settings_of(self),
            target=target,
            signed=self.signed,
            convergence_delta=float(delta[0]),
            forwards=explained.forwards,
            notes={"value": ends[0], "value at the baseline": ends[1]},
        )

    def _start(self, observation: Observation, layout: TokenLayout, explained: Explained) -> Float[Tensor, "1 L width"]:
        inputs = explained.inputs
        if self.baseline == "zero":
            return torch.zeros_like(inputs)
        start = inputs.clone()
        images = layout.positions(Part.IMAGE)
        images = images[images < inputs.shape[1]]
        if self.baseline == "blurred image":
            blurred = {camera: filled(frame, "blur") for camera, frame in observation.images.items()}
            with torch.no_grad():
                seen = explained.embed(Observation(blurred, observation.instruction, observation.state))
            start[:, images] = seen[:, images].to(start.dtype)
            return start
        kept = {*layout.positions(Part.SPECIAL).tolist(), *images.tolist()}
        words = [position for position in range(inputs.shape[1]) if position not in kept]
        for positions in (images.tolist(), words):
            if positions:
                start[:, positions] = inputs[:, positions].mean(dim=1, keepdim=True)
        return start
