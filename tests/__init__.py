"""Tests, in the shape of the tree that they test."""

from __future__ import annotations

import re
import sys
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# pytest checks annotations with this (addopts in pyproject.toml); an int may stand where a float is asked for
check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def _names_arrays(thing: Any) -> bool:
    """Whether a function, or the fields of a class, are annotated with the shape of an array."""
    inner = getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing
    names = vars(sys.modules[inner.__module__]) if getattr(inner, "__module__", "") in sys.modules else {}
    texts = [note if isinstance(note, str) else repr(note) for note in getattr(inner, "__annotations__", {}).values()]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    return bool(words & {"ndarray", "Tensor"}) or any("jaxtyping." in repr(names.get(word)) for word in words)


def _where_arrays_are_named(*things: Any, typechecker: Any) -> Any:
    """jaxtyping's decorator where there are shapes to check: mypy sees the rest, and small functions become slow."""
    if not things:
        return lambda thing: _where_arrays_are_named(thing, typechecker=typechecker)
    (thing,) = things
    return _jaxtyped(thing, typechecker=typechecker) if _names_arrays(thing) else thing


_jaxtyped = jaxtyping.jaxtyped
jaxtyping.jaxtyped = _where_arrays_are_named  # what jaxtyping's import hook puts before every function and class
