"""Layer gradient x activation: the same as input x gradient, on what a layer of the language model hands on.

Captum's own layer methods hook the shared model and go wrong when another thread runs it. Here the hook keeps what its
own thread makes and lets every other thread's forward pass by.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.explained import Explained, why_no_single_pass
from analysis.attribution.settings import setting, settings_of
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.decoder_layers import decoder_layers
from models.errors import UserError
from models.policy import Policy
from models.types import Observation, Prediction


@dataclass(frozen=True)
class LayerGradient:
    """Activation times gradient behind one layer, summed over channels."""

    name: ClassVar[str] = "layer-gradient"
    title: ClassVar[str] = "Layer gradient × activation"
    signed: ClassVar[bool] = True

    layer: int | None = setting(None, "layer of the language model, 0 first; the middle one if empty", least=0)

    def why_not(self, policy: Policy) -> str | None:
        if (reason := why_no_single_pass(policy)) is not None:
            return reason
        try:
            decoder_layers(policy)
        except UserError as error:
            return str(error)
        return None

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
        layers = decoder_layers(policy)
        layer = self.layer if self.layer is not None else len(layers) // 2
        if layer >= len(layers):
            raise UserError(f"there is no layer {layer}; the policy has layers 0 to {len(layers) - 1}")
        made: list[Tensor] = []
        hook = layers[layer].register_forward_hook(_keep_own(made))
        try:
            value = explained(explained.inputs.clone().requires_grad_(True))[0]
        finally:
            hook.remove()
        (slope,) = torch.autograd.grad(value, made[-1])
        return AttributionMap(
            layout=said.layout,
            scores=explained.scores((made[-1] * slope)[0].sum(dim=1)),
            method=self.name,
            settings=settings_of(self) | {"layer": layer},
            target=target,
            signed=self.signed,
            forwards=explained.forwards,
            notes={"value": float(value.detach())},
        )


def _keep_own(made: list[Tensor]) -> Any:
    mine = threading.get_ident()

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == mine:
            made.append(output[0] if isinstance(output, tuple) else output)

    return keep
