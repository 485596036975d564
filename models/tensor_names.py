"""Tensor names of vision-language checkpoints: one spelling for all layouts, and each tensor's place in the model."""

from __future__ import annotations

import re
from dataclasses import dataclass

# hub files, transformers 4 and transformers 5 spell the same tensor differently
SPELLINGS = (
    (r"^model\.", ""),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "language_model."),
    (r"^vision_tower\.vision_model\.", "vision_tower."),
    (r"^(layers|embed_tokens|norm)\.", r"language_model.\1."),  # Qwen2-VL
)
PLACES = (  # the first that matches; a group in the pattern is the layer
    (r"^(?:vision_zoe_model|position_embedding_3d)\.", "depth"),  # SpatialVLA
    (r"^(?:.*\.)?(?:gemma_expert|lm_expert|dit)\..*\blayers\.(\d+)\.", "action expert"),  # pi0, SmolVLA
    (r"^(?:.*\.)?(?:gemma_expert|lm_expert|dit)\.", "action expert"),
    (
        r"^(?:model\.)?(?:state_proj|action_in_proj|action_out_proj|action_time_mlp_\w+|embed_action_time\.)",
        "action expert",
    ),
    (r"^(?:.*\.)?(?:connector|multi_modal_projector|projector|visual\.merger)\.", "projector"),
    (r"^(?:.*\.)?(?:vision_tower|vision_model|vision_backbone|visual)\..*\b(?:layers|blocks)\.(\d+)\.", "vision"),
    (r"^(?:.*\.)?(?:vision_tower|vision_model|vision_backbone|visual)\.", "vision"),
    (r"^(?:.*\.)?(?:embed_tokens|spatial_embed_tokens)\.", "embeddings"),
    (r"^(?:.*\.)?lm_head\.", "head"),
    (r"^(?:.*\.)?(?:language_model|text_model)\.layers\.(\d+)\.", "language"),
    (r"^(?:.*\.)?paligemma\.language_model\.model\.layers\.(\d+)\.", "language"),
    (r"^layers\.(\d+)\.", "language"),  # Qwen2-VL
    (r"^(?:.*\.)?(?:language_model|text_model)\.", "language"),
    (r"^norm\.", "language"),
)


@dataclass(frozen=True, order=True)
class Place:
    """Part of the model that a tensor belongs to; ``layer`` is None outside numbered layers."""

    stream: str  # "vision", "depth", "projector", "embeddings", "language", "head", "action expert", "other"
    layer: int | None = None

    @property
    def label(self) -> str:
        return self.stream if self.layer is None else f"{self.stream} {self.layer}"


def canonical(name: str) -> str:
    """``name`` as transformers' own modules spell it, without the outer ``model.``."""
    for pattern, replacement in SPELLINGS:
        name = re.sub(pattern, replacement, name)
    return name


def place(name: str) -> Place:
    """Where a tensor of canonical ``name`` belongs."""
    for pattern, stream in PLACES:
        if match := re.match(pattern, name):
            return Place(stream, int(match[1]) if match.groups() else None)
    return Place("other")
