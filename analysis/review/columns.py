"""Column types that give back exactly what was stored, alike in SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from models.errors import UserError


class ExactJson(TypeDecorator[Any]):
    """JSON values as ASCII text: NUL and lone surrogates, which PostgreSQL refuses in text, stand as escapes.

    Equal values are equal texts, so that columns of this type can be compared. Raises UserError for a value that would
    come back otherwise: not JSON, not finite, or with two halves of one sign as separate signs.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        try:
            text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{value!r:.80} cannot be stored: {error}") from None
        if _plain(json.loads(text)) != _plain(value):
            raise UserError(
                f"{value!r:.80} cannot be stored exactly; write a sign beyond U+FFFF as one, not as two halves"
            )
        return text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class ExactText(ExactJson):
    """Any text at all."""

    cache_ok = True


class UtcTime(TypeDecorator[datetime]):
    """A moment with its time zone; stored and given back in UTC, to the microsecond."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _plain(value: Any) -> Any:
    """Tuples and lists alike, as JSON has them; keys as they come back."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
