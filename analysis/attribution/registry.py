"""Attribution methods by name. A new one is a line here; its module is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from analysis.attribution.method import AttributionMethod
from models.errors import UserError

METHODS: Mapping[str, str] = {}


def method_class(name: str) -> type[AttributionMethod]:
    """The class of a method, its module imported now. Raises UserError for a name that is not there."""
    if name not in METHODS:
        raise UserError(f"there is no attribution method {name!r}; there are {', '.join(METHODS)}")
    module, _, own = METHODS[name].partition(":")
    found: type[AttributionMethod] = getattr(importlib.import_module(module), own)
    return found
