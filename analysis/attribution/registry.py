"""Attribution methods by name. A new one is a line here; its module is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from models.errors import UserError

METHODS: Mapping[str, str] = {
    "attention-head": "analysis.attribution.attention:HeadAttention",
    "attention-mean": "analysis.attribution.attention:MeanAttention",
    "attention-top-k": "analysis.attribution.attention:TopKAttention",
    "attention-rollout": "analysis.attribution.attention:RolloutAttention",
    "attention-gradient": "analysis.attribution.attention_gradient:AttentionGradient",
    "relevancy": "analysis.attribution.relevancy:Relevancy",
    "integrated-gradients": "analysis.attribution.integrated_gradients:IntegratedGradients",
    "saliency": "analysis.attribution.saliency:Saliency",
    "input-gradient": "analysis.attribution.input_gradient:InputGradient",
    "layer-gradient": "analysis.attribution.layer_gradient:LayerGradient",
    "occlusion": "analysis.attribution.occlusion:Occlusion",
    "ablation": "analysis.attribution.feature_ablation:FeatureAblation",
    "shapley": "analysis.attribution.shapley:ShapleySampling",
    "iss": "analysis.attribution.iss:InterventionalSignificance",
}


def method_class(name: str) -> type[Any]:
    """The class of a method, its module imported now. Raises UserError for a name that is not there."""
    if name not in METHODS:
        raise UserError(f"there is no attribution method {name!r}; there are {', '.join(METHODS)}")
    module, _, own = METHODS[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), own)
    return found
