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
)
PLACES = (  # the first that matches; a group in the pattern is the layer
    (r"^vision_tower\..*\blayers\.(\d+)\.", "vision"),
    (r"^vision_tower\.", "vision"),
    (r"^multi_modal_projector\.", "projector"),
    (r"^language_model\.layers\.(\d+)\.", "language"),
    (r"^language_model\.embed_tokens\.", "embeddings"),
    (r"^lm_head\.", "head"),
    (r"^language_model\.", "language"),
)


@dataclass(frozen=True, order=True)
class Place:
    """Part of the model that a tensor belongs to; ``layer`` is None outside numbered layers."""

    stream: str  # "vision", "projector", "embeddings", "language", "head", "other"
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
