"""Interventions by name: as JSON for records and links, and back. Pure."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from analysis.interventions import image_edits, instruction_edits, knock_outs, rationale_edits
from analysis.interventions.question import Intervention
from analysis.records import Setting
from models.errors import UserError

KINDS: Mapping[str, type[Any]] = {
    each.kind: each
    for each in (
        image_edits.HidePatches,
        image_edits.HideBox,
        image_edits.HideObject,
        image_edits.HideImage,
        instruction_edits.BlankInstruction,
        instruction_edits.ShuffledInstruction,
        instruction_edits.OtherObject,
        instruction_edits.NegatedInstruction,
        instruction_edits.ParaphrasedInstruction,
        instruction_edits.OwnInstruction,
        rationale_edits.DropPart,
        rationale_edits.SwapWords,
        rationale_edits.ShuffleWords,
        rationale_edits.ShuffleSentences,
        rationale_edits.RandomWords,
        rationale_edits.OtherRationale,
        rationale_edits.OwnRationale,
        knock_outs.KnockOutRoute,
        knock_outs.KnockOutHead,
    )
}
LARGEST = 16_000  # characters of a link's edits


def as_settings(interventions: Sequence[Intervention]) -> list[Setting]:
    """What a record's key holds; fields at their default are left out."""
    return [_setting(each) for each in interventions]


def as_text(interventions: Sequence[Intervention]) -> str:
    """The same as one text for a URL."""
    return json.dumps(as_settings(interventions), ensure_ascii=False, separators=(",", ":"))


def from_settings(stored: Any) -> tuple[Intervention, ...]:
    """Raises UserError for what is no list of interventions."""
    if not isinstance(stored, list) or len(stored) > 50:
        raise UserError("the edits are no list of at most 50 interventions")
    return tuple(_read(each) for each in stored)


def from_text(text: str) -> tuple[Intervention, ...]:
    """Raises UserError for a text that `as_text` would not have written."""
    try:
        stored = json.loads(text) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        stored = None
    if stored is None:
        raise UserError("the link's edits cannot be read; they are JSON, a list of interventions")
    return from_settings(stored)


def _setting(intervention: Intervention) -> Setting:
    given: dict[str, Setting] = {"kind": intervention.kind}
    for entry in fields(typing.cast(Any, intervention)):
        value = getattr(intervention, entry.name)
        if entry.default is MISSING or value != entry.default:
            listed = [*value] if isinstance(value, tuple) else value
            given[entry.name] = dict(listed) if isinstance(listed, Mapping) else listed
    return given


def _read(stored: Any) -> Intervention:
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"there is no intervention {str(kind)[:40]!r}; there are {', '.join(KINDS)}")
    made, hints = KINDS[kind], typing.get_type_hints(KINDS[kind])
    values: dict[str, Any] = {}
    for entry in fields(made):
        if entry.name in stored:
            values[entry.name] = _value(stored[entry.name], hints[entry.name], f"{entry.name} of {kind!r}")
        elif entry.default is MISSING:
            raise UserError(f"the intervention {kind!r} lacks its {entry.name}")
    if unknown := stored.keys() - {entry.name for entry in fields(made)} - {"kind"}:
        raise UserError(f"the intervention {kind!r} has no {min(unknown)!r}")
    built: Intervention = made(**values)
    return built


def _value(value: Any, hint: Any, what: str) -> Any:
    """A JSON value as the field's type says."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in kinds:
        if (kind is types.NoneType and value is None) or (kind in (int, float, str) and _plain(value, kind)):
            return value
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Literal and value in inner:
            return value
        if origin is tuple and isinstance(value, list) and all(_plain(each, inner[0]) for each in value):
            if inner[-1] is Ellipsis or len(inner) == len(value):
                return tuple(value)
        elif origin is Mapping and isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
    raise UserError(f"{what} is {str(value)[:60]!r}, which makes no sense there")


def _plain(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)
