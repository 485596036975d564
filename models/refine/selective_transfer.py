"""Selective transfer: freeze what sees and the lower decoder layers; train the upper layers and the policy head.

Source: ReFineVLA (arXiv 2505.19080): the lower 24 of 26 layers stay frozen. What is frozen gives, for the same input,
the very same attention maps as the base model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PaliGemmaForConditionalGeneration

from models.errors import UserError
from models.refine.settings import Mode, TuneSettings

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Transfer:
    """What trains. Counts are numbers of parameters."""

    frozen_layers: int
    layers: int
    trained: int
    frozen: int


def choose(model: PaliGemmaForConditionalGeneration, settings: TuneSettings) -> Transfer:
    """Decide what of ``model`` trains, in place; for LoRA see `add_low_rank`, which comes after.

    Raises:
        UserError: more layers are to be frozen than there are.
    """
    check_layers(settings.frozen_layers, len(model.model.language_model.layers))
    if settings.mode is Mode.FULL:
        model.requires_grad_(True)
        return _counted(model, 0)
    if not settings.train_embeddings and is_tied(model):
        untie_head(model)
    freeze_lower(model, settings.frozen_layers, tied=settings.train_embeddings)
    if settings.train_embeddings:
        model.get_input_embeddings().requires_grad_(True)
    if settings.train_vision:
        model.model.vision_tower.requires_grad_(True)
        model.model.multi_modal_projector.requires_grad_(True)
    return _counted(model, settings.frozen_layers)


def check_layers(frozen: int, layers: int) -> None:
    """Raises UserError where ``frozen`` layers are more than there are."""
    if not 0 <= frozen <= layers:
        raise UserError(f"{frozen} decoder layers are to be frozen; this model has {layers}")


def is_tied(model: PaliGemmaForConditionalGeneration) -> bool:
    return model.lm_head.weight is model.get_input_embeddings().weight


def untie_head(model: PaliGemmaForConditionalGeneration) -> None:
    """Give the policy head weights of its own, so that it can train while the embeddings stay as they are."""
    head = model.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False


def freeze_lower(model: PaliGemmaForConditionalGeneration, frozen_layers: int, tied: bool = False) -> Transfer:
    """Freeze vision tower, projector, embeddings and the lower ``frozen_layers`` decoder layers, in place.

    Raises:
        UserError: there are not that many layers, or the head shares its weights with the embeddings, which then
            train with it; ``tied`` says that this is meant.
    """
    layers = model.model.language_model.layers
    check_layers(frozen_layers, len(layers))
    if is_tied(model) and not tied:
        raise UserError("the policy head shares its weights with the embeddings; call untie_head first")
    model.requires_grad_(False)
    for module in (*layers[frozen_layers:], model.model.language_model.norm, model.lm_head):
        module.requires_grad_(True)
    return _counted(model, frozen_layers)


def add_low_rank(model: PaliGemmaForConditionalGeneration, settings: TuneSettings) -> torch.nn.Module:
    """``model`` with low-rank changes (Hu et al., 2021) of the layers that are not frozen; they alone train."""
    from peft import LoraConfig, get_peft_model

    layers = len(model.model.language_model.layers)
    kept = "|".join(str(layer) for layer in range(settings.frozen_layers, layers))
    targets = rf".*language_model\.layers\.({kept})\..*\.({'|'.join(PROJECTIONS)})"
    if settings.frozen_layers == layers:
        raise UserError(f"LoRA changes decoder layers, and all {layers} are to be frozen; freeze fewer")
    low_rank = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=targets, lora_dropout=0)
    model.requires_grad_(False)
    adapted: torch.nn.Module = get_peft_model(model, low_rank)
    return adapted


def counted(model: torch.nn.Module, frozen_layers: int, layers: int) -> Transfer:
    """How many parameters train as the model stands now."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trained = sum(size for size, trains in sizes if trains)
    return Transfer(frozen_layers, layers, trained, sum(size for size, _ in sizes) - trained)


def _counted(model: PaliGemmaForConditionalGeneration, frozen_layers: int) -> Transfer:
    return counted(model, frozen_layers, len(model.model.language_model.layers))
