"""A method's settings: what can be chosen, as text or JSON, and back. Pure.

Every field of a method is a setting; its metadata hold ``help``, and ``least`` for numbers. Fields with the metadata
``from_step`` are filled in for each step of an episode (boxes of objects) and are no part of a record's key.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.attribution.method import AttributionMethod
from analysis.records import Setting
from models.errors import UserError

Kind = Literal["whole number", "number", "text", "yes or no", "whole numbers"]
YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def setting(default: Any, help: str, least: float | None = None) -> Any:
    """A field of a method's dataclass. ``least``: the smallest number that makes sense."""
    return field(default=default, metadata={"help": help, "least": least})


@dataclass(frozen=True)
class Choice:
    """One setting as a person is asked for it."""

    name: str
    kind: Kind
    default: Setting
    options: tuple[str, ...]  # of a text; empty: any
    optional: bool  # whether it may be left empty
    help: str
    least: float | None


def choices(method: type[Any]) -> tuple[Choice, ...]:
    """The settings of a method, in order."""
    hints = typing.get_type_hints(method)
    return tuple(_choice(entry, hints[entry.name]) for entry in _fields(method) if "from_step" not in entry.metadata)


def settings_of(method: AttributionMethod) -> dict[str, Setting]:
    """All settings of a method as JSON values."""
    return {choice.name: _plain(getattr(method, choice.name)) for choice in choices(type(method))}


def with_settings(method: type[Any], given: Mapping[str, Setting]) -> AttributionMethod:
    """The method with these settings, texts read as what they mean. Raises UserError for one that it does not have."""
    known = {choice.name: choice for choice in choices(method)}
    if unknown := given.keys() - known.keys():
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise UserError(f"{method.name} has no setting {min(unknown)!r}; {has}")
    return method(**{name: _value(method.name, known[name], value) for name, value in given.items()})


def _fields(method: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(method)


def _choice(entry: dataclasses.Field[Any], hint: Any) -> Choice:
    kinds = [each for each in typing.get_args(hint) if each is not types.NoneType]
    optional = types.NoneType in typing.get_args(hint)
    inner = kinds[0] if optional and len(kinds) == 1 else hint
    options = typing.get_args(inner) if typing.get_origin(inner) is Literal else ()
    named: Mapping[Any, Kind] = {int: "whole number", float: "number", str: "text", bool: "yes or no"}
    kind: Kind = "text" if options else "whole numbers" if typing.get_origin(inner) is tuple else named[inner]
    default, meta = _plain(entry.default), entry.metadata
    return Choice(entry.name, kind, default, options, optional, meta.get("help", ""), meta.get("least"))


def _plain(value: Any) -> Setting:
    return [*value] if isinstance(value, tuple) else value


def _value(method: str, choice: Choice, value: Setting) -> Any:
    try:
        read = _read(choice, value)
    except (ValueError, TypeError, KeyError):
        raise _wrong(method, choice, value) from None
    numbers = read if isinstance(read, tuple) else (read,) if isinstance(read, int | float) else ()
    if choice.least is not None and any(not number >= choice.least for number in numbers):
        raise _wrong(method, choice, value)
    return read


def _read(choice: Choice, value: Setting) -> Any:
    if choice.optional and value in (None, ""):
        return None
    if choice.kind == "whole number":
        return _whole(value)
    if choice.kind == "number":
        number = float(str(value))
        if not math.isfinite(number):
            raise ValueError
        return number
    if choice.kind == "yes or no":
        return YES_NO[str(value).lower()]
    if choice.kind == "whole numbers":
        return tuple(_whole(each) for each in (value.split(",") if isinstance(value, str) else _list(value)))
    if not isinstance(value, str) or (choice.options and value not in choice.options):
        raise ValueError
    return value


def _whole(value: Setting) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(str(value)) if not isinstance(value, float) else int(value)


def _list(value: Setting) -> list[Setting]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _wrong(method: str, choice: Choice, value: Setting) -> UserError:
    expected = " or ".join(choice.options) if choice.options else f"a {choice.kind}"
    expected = choice.kind if choice.kind in ("whole numbers", "yes or no") else expected
    least = f" of at least {choice.least:g}" if choice.least is not None else ""
    return UserError(f"{method}: {choice.name} is {value!r}; expected {expected}{least}")
