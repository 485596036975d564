"""Selective transfer: freeze what sees and the lower decoder layers; train the upper layers and the policy head.

Source: ReFineVLA (arXiv 2505.19080): the lower 24 of 26 layers stay frozen. What is frozen gives, for the same input,
the very same attention maps as the base model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.errors import UserError
from models.refine.settings import Mode, TuneSettings

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Parts:
    """What a policy's model is made of, whatever its family calls it."""

    model: nn.Module
    layers: nn.ModuleList  # of the decoder, the lowest first
    norm: nn.Module  # after the last of them
    head: nn.Module
    embeddings: nn.Module  # of what is read
    vision: tuple[nn.Module, ...]  # towers, and what brings their features to the decoder
    fixed: tuple[nn.Module, ...] = ()  # never train: no gradient reaches them
    configs: tuple[Any, ...] = ()  # of transformers, that say whether head and embeddings are one

    @property
    def tied(self) -> bool:
        return self.head.weight is self.embeddings.weight

    @property
    def layer_kinds(self) -> list[str]:
        """Classes of the decoder's layers and of what sees: the pieces in which sharded weights come and go."""
        seen = [each for module in self.vision for each in module.modules() if isinstance(each, nn.ModuleList)]
        return sorted({type(layer).__name__ for stack in (self.layers, *seen) for layer in stack})


@dataclass(frozen=True)
class Transfer:
    """What trains. Counts are numbers of parameters."""

    frozen_layers: int
    layers: int
    trained: int
    frozen: int


def choose(parts: Parts, settings: TuneSettings) -> Transfer:
    """Decide what trains, in place; for LoRA see `add_low_rank`, which comes after.

    Raises:
        UserError: more layers are to be frozen than there are, or none is left for LoRA.
    """
    check_layers(settings.frozen_layers, len(parts.layers))
    if settings.mode is Mode.LORA and settings.frozen_layers == len(parts.layers):
        raise UserError(f"LoRA changes decoder layers, and all {len(parts.layers)} are to be frozen; freeze fewer")
    if settings.mode is Mode.FULL:
        parts.model.requires_grad_(True)
        _fix(parts)
        return counted(parts, 0)
    if not settings.train_embeddings and parts.tied:
        untie_head(parts)
    freeze_lower(parts, settings.frozen_layers, tied=settings.train_embeddings)
    if settings.train_embeddings:
        parts.embeddings.requires_grad_(True)
    if settings.train_vision:
        for module in parts.vision:
            module.requires_grad_(True)
    _fix(parts)
    return counted(parts, settings.frozen_layers)


def check_layers(frozen: int, layers: int) -> None:
    """Raises UserError where ``frozen`` layers are more than there are."""
    if not 0 <= frozen <= layers:
        raise UserError(f"{frozen} decoder layers are to be frozen; this model has {layers}")


def untie_head(parts: Parts) -> None:
    """Give the policy head weights of its own, so that it can train while the embeddings stay as they are."""
    parts.head.weight = nn.Parameter(parts.head.weight.detach().clone())
    for config in parts.configs:
        config.tie_word_embeddings = False


def freeze_lower(parts: Parts, frozen_layers: int, tied: bool = False) -> Transfer:
    """Freeze what sees, embeddings and the lower ``frozen_layers`` decoder layers, in place.

    Raises:
        UserError: there are not that many layers, or the head shares its weights with the embeddings, which then
            train with it; ``tied`` says that this is meant.
    """
    check_layers(frozen_layers, len(parts.layers))
    if parts.tied and not tied:
        raise UserError("the policy head shares its weights with the embeddings; call untie_head first")
    parts.model.requires_grad_(False)
    for module in (*parts.layers[frozen_layers:], parts.norm, parts.head):
        module.requires_grad_(True)
    return counted(parts, frozen_layers)


def add_low_rank(parts: Parts, settings: TuneSettings) -> nn.Module:
    """The model with low-rank changes (Hu et al., 2021) of the layers that are not frozen; they alone train."""
    from peft import LoraConfig, get_peft_model

    place = next(name for name, module in parts.model.named_modules() if module is parts.layers)
    kept = "|".join(str(layer) for layer in range(settings.frozen_layers, len(parts.layers)))
    targets = rf"{re.escape(place)}\.({kept})\..*\.({'|'.join(PROJECTIONS)})"
    low_rank = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=targets, lora_dropout=0)
    parts.model.requires_grad_(False)
    adapted: nn.Module = get_peft_model(parts.model, low_rank)
    return adapted


def counted(parts: Parts, frozen_layers: int, model: nn.Module | None = None) -> Transfer:
    """How many parameters train as ``model``, or the parts' own, stands now."""
    sizes = [(each.numel(), each.requires_grad) for each in (model or parts.model).parameters()]
    trained = sum(size for size, trains in sizes if trains)
    return Transfer(frozen_layers, len(parts.layers), trained, sum(size for size, _ in sizes) - trained)


def _fix(parts: Parts) -> None:
    for module in parts.fixed:
        module.requires_grad_(False)
