"""Families of policies. A new one is a line here; its module is imported only when a checkpoint asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.config_section import ConfigSection
from models.errors import UserError


@dataclass(frozen=True)
class Family:
    """How a family's checkpoints are recognised and opened; functions are named as "module:function"."""

    model_types: tuple[str, ...]  # values of config.json's model_type
    inspect: str  # (files, family, digest) -> CheckpointSpec; imports neither torch nor transformers
    load: str  # (files, spec, action_stats, device, dtype) -> Policy
    lerobot_types: tuple[str, ...] = ()  # values of type in a LeRobot policy folder's config.json
    title: str = ""  # what people call it


FAMILIES: Mapping[str, Family] = {
    "paligemma": Family(
        ("paligemma",), "models.families.paligemma_spec:inspect_paligemma", "models.families.paligemma:load_paligemma"
    ),
}


def recognise(config: ConfigSection, family: str | None = None) -> str:
    """The family of a checkpoint, or ``family`` where the caller knows better. Raises UserError for an unknown one."""
    if family is not None:
        if family not in FAMILIES:
            raise UserError(f"there is no model family {family!r}; there are {', '.join(FAMILIES)}")
        return family
    if not config.has("model_type") and config.has("type"):
        return _recognise_lerobot(config)
    model_type = config.text("model_type")
    for name, entry in FAMILIES.items():
        if model_type in entry.model_types:
            return name
    known = ", ".join(kind for entry in FAMILIES.values() for kind in entry.model_types)
    raise UserError(f"{config.where} model_type is {model_type!r}; the kinds that can be opened are {known}")


def _recognise_lerobot(config: ConfigSection) -> str:
    kind = config.text("type")
    for name, entry in FAMILIES.items():
        if kind in entry.lerobot_types:
            return name
    known = ", ".join(kind for entry in FAMILIES.values() for kind in entry.lerobot_types)
    raise UserError(
        f"{config.where} type is {kind!r}, a LeRobot policy that cannot be opened here; those that can are {known}"
    )


def alternatives(config: ConfigSection) -> tuple[str, ...]:
    """Every family that opens checkpoints of this kind, the one that `recognise` takes by itself first.

    More than one where the files cannot tell (ECoT writes OpenVLA's). Raises UserError as `recognise` does.
    """
    own = FAMILIES[recognise(config)]
    same = [
        name
        for name, entry in FAMILIES.items()
        if set(entry.model_types) & set(own.model_types) & {config.text("model_type", default="")}
        or set(entry.lerobot_types) & set(own.lerobot_types) & {config.text("type", default="")}
    ]
    return tuple(sorted(same, key=lambda name: name != recognise(config)))


def function(reference: str) -> Callable[..., Any]:
    """The function that "module:function" names, its module imported now."""
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
