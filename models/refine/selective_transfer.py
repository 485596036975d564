"""Selective transfer: freeze what sees and the lower decoder layers; train the upper layers and the policy head.

Source: ReFineVLA (arXiv 2505.19080): the lower 24 of 26 layers stay frozen. What is frozen gives, for the same input,
the very same attention maps as the base model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PaliGemmaForConditionalGeneration

from models.errors import UserError


@dataclass(frozen=True)
class Transfer:
    """What trains. Counts are numbers of parameters."""

    frozen_layers: int
    layers: int
    trained: int
    frozen: int


def untie_head(model: PaliGemmaForConditionalGeneration) -> None:
    """Give the policy head weights of its own, so that it can train while the embeddings stay as they are."""
    head = model.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False


def freeze_lower(model: PaliGemmaForConditionalGeneration, frozen_layers: int) -> Transfer:
    """Freeze vision tower, projector, embeddings and the lower ``frozen_layers`` decoder layers, in place.

    Raises:
        UserError: there are not that many layers, or the head shares its weights with the embeddings.
    """
    layers = model.model.language_model.layers
    if not 0 <= frozen_layers <= len(layers):
        raise UserError(f"{frozen_layers} decoder layers are to be frozen; this model has {len(layers)}")
    if model.lm_head.weight is model.get_input_embeddings().weight:
        raise UserError("the policy head shares its weights with the embeddings; call untie_head first")
    model.requires_grad_(False)
    for module in (*layers[frozen_layers:], model.model.language_model.norm, model.lm_head):
        module.requires_grad_(True)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trained = sum(size for size, trains in sizes if trains)
    return Transfer(frozen_layers, len(layers), trained, sum(size for size, _ in sizes) - trained)
