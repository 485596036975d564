"""Families of policies. A new one is a line here; its module is imported only when a checkpoint asks for it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from models.config_section import ConfigSection
from models.errors import UserError


@dataclass(frozen=True)
class Family:
    """How a family's checkpoints are recognised and opened; functions are named as "module:function"."""

    model_types: tuple[str, ...]  # values of config.json's model_type
    inspect: str  # (files, family, digest) -> CheckpointSpec; imports neither torch nor transformers
    load: str  # (files, spec, action_stats, device, dtype) -> Policy
    lerobot_types: tuple[str, ...] = ()  # values of type in a LeRobot policy folder's config.json
    names: tuple[str, ...] = ()  # words in a checkpoint's name that tell it from others of the same model_type
    states: str = ""  # section of config.json by which those tell themselves that were tuned here
    section: str = ""  # of config.json, that tells its checkpoints from others of the same model_type
    file: str = ""  # name of a file, * for any, that tells its checkpoints from others of the same model_type
    title: str = ""  # what people call it


FAMILIES: Mapping[str, Family] = {
    "paligemma": Family(
        ("paligemma",),
        "models.families.paligemma_spec:inspect_paligemma",
        "models.families.paligemma:load_paligemma",
        section="vla",
    ),
    "openvla": Family(
        ("openvla",),
        "models.families.openvla_spec:inspect_openvla",
        "models.families.openvla:load_openvla",
        title="OpenVLA",
    ),
    "ecot": Family(
        ("openvla",),
        "models.families.ecot_spec:inspect_ecot",
        "models.families.ecot:load_ecot",
        names=("ecot", "embodied-cot"),
        states="rationale",
        title="ECoT, an OpenVLA that writes its reasoning",
    ),
    "openvla_oft": Family(
        ("openvla",),
        "models.families.openvla_oft_spec:inspect_openvla_oft",
        "models.families.openvla_oft:load_openvla_oft",
        file="action_head*.safetensors",
        title="OpenVLA-OFT",
    ),
    "spatialvla": Family(
        ("spatialvla",),
        "models.families.spatialvla_spec:inspect_spatialvla",
        "models.families.spatialvla:load_spatialvla",
        title="SpatialVLA",
    ),
    "refinevla": Family(  # nothing in published files tells whether words follow the actions: only when asked for
        ("spatialvla",),
        "models.families.spatialvla_spec:inspect_spatialvla",
        "models.families.spatialvla:load_spatialvla",
        states="rationale",
        title="ReFineVLA, a SpatialVLA with words",
    ),
    "smolvla": Family(
        (),
        "models.families.smolvla_spec:inspect_smolvla",
        "models.families.smolvla:load_smolvla",
        lerobot_types=("smolvla",),
        title="SmolVLA",
    ),
    "pi0": Family(
        ("pi0",),
        "models.families.pi0_spec:inspect_pi0",
        "models.families.pi0:load_pi0",
        lerobot_types=("pi0",),
        title="π0",
    ),
    "vlm": Family(
        ("paligemma", "llava", "llava_next", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl"),
        "models.families.vlm_spec:inspect_vlm",
        "models.families.vlm:load_vlm",
        title="vision-language model",
    ),
}


def recognise(
    config: ConfigSection, family: str | None = None, called: Sequence[str] = (), holds: Sequence[str] = ()
) -> str:
    """The family of a checkpoint, or ``family`` where the caller knows better. Raises UserError for an unknown one.

    ``called``: the checkpoint's names, such as its folder's; ``holds``: names of its files. Both decide where families
    share a ``model_type``.
    """
    if family is not None:
        if family not in FAMILIES:
            raise UserError(f"there is no model family {family!r}; there are {', '.join(FAMILIES)}")
        return family
    if not config.has("model_type") and config.has("type"):
        return _recognise_lerobot(config)
    model_type = config.text("model_type")
    for name in sorted(_fitting(config, holds), key=lambda name: not _has_mark(FAMILIES[name])):
        if not _has_mark(FAMILIES[name]) or _is_marked(FAMILIES[name], config, called):
            return name
    known = ", ".join(dict.fromkeys(kind for entry in FAMILIES.values() for kind in entry.model_types))
    raise UserError(f"{config.where} model_type is {model_type!r}; the kinds that can be opened are {known}")


def _has_mark(entry: Family) -> bool:
    return bool(entry.names or entry.states)


def _is_marked(entry: Family, config: ConfigSection, called: Sequence[str]) -> bool:
    """Whether a checkpoint says of itself, or is called, what ``entry`` is."""
    return (bool(entry.states) and config.has(entry.states)) or named_as(entry.names, called) is not None


def _fitting(config: ConfigSection, holds: Sequence[str]) -> list[str]:
    """Families of the model_type; only those that ask for a section of config.json, or a file, where it is there."""
    kind = config.text("model_type", default="")
    same = {name: entry for name, entry in FAMILIES.items() if kind in entry.model_types}
    marked = [
        name
        for name, entry in same.items()
        if (entry.section and config.has(entry.section)) or any(fnmatchcase(each, entry.file) for each in holds)
    ]
    return marked or [name for name, entry in same.items() if not entry.section and not entry.file]


def _recognise_lerobot(config: ConfigSection) -> str:
    kind = config.text("type")
    for name, entry in FAMILIES.items():
        if kind in entry.lerobot_types:
            return name
    known = ", ".join(kind for entry in FAMILIES.values() for kind in entry.lerobot_types)
    raise UserError(
        f"{config.where} type is {kind!r}, a LeRobot policy that cannot be opened here; those that can are {known}"
    )


def alternatives(config: ConfigSection, called: Sequence[str] = (), holds: Sequence[str] = ()) -> tuple[str, ...]:
    """Every family that opens checkpoints of this kind, the one that `recognise` takes by itself first.

    More than one where the files cannot tell (ECoT writes OpenVLA's): families that share the kind, or that have none
    of their own and read the same files. Raises UserError as `recognise` does.
    """
    first = recognise(config, called=called, holds=holds)
    policy, own, fitting = config.text("type", default=""), FAMILIES[first], _fitting(config, holds)
    same = [
        name
        for name, entry in FAMILIES.items()
        if name in fitting
        or (policy in entry.lerobot_types and policy in own.lerobot_types)
        or (entry.inspect == own.inspect and not entry.model_types + entry.lerobot_types)
        or name == first
    ]
    return tuple(sorted(same, key=lambda name: name != first))


def named_as(words: Sequence[str], called: Sequence[str]) -> str | None:
    """The first of ``called`` that has one of ``words`` in it as a word of its own, in any case."""
    patterns = [rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])" for word in words]
    return next((name for name in called if any(re.search(each, name.lower()) for each in patterns)), None)


def function(reference: str) -> Callable[..., Any]:
    """The function that "module:function" names, its module imported now."""
    module, _, name = reference.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return cast("Callable[..., Any]", found)
