"""Reading a JSON configuration so that whatever is wrong in it is named by its full path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError

LFS_POINTER = "version https://git-lfs"  # how a file begins that was cloned without Git LFS


@dataclass(frozen=True)
class ConfigSection:
    """One object of a JSON file. Every getter raises UserError that names the field, what was found and expected."""

    where: str  # e.g. "config.json: vla.action"
    fields: Mapping[str, Any]

    @staticmethod
    def read(file: Path) -> ConfigSection:
        """The whole file as one section."""
        try:
            text = file.read_text(encoding="utf-8")
            if text.startswith(LFS_POINTER):
                raise UserError(f"{file} is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
            content = json.loads(text)
        except FileNotFoundError:
            raise UserError(f"{file.parent} has no {file.name}") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(f"{file} is not valid JSON ({error})") from error
        if not isinstance(content, dict):
            raise UserError(f"{file} holds a JSON {type(content).__name__}, expected an object")
        return ConfigSection(f"{file.name}:", content)

    def has(self, key: str) -> bool:
        return self.fields.get(key) is not None

    def section(self, key: str) -> ConfigSection:
        value = self._value(key, dict, "an object")
        return ConfigSection(self._path(key), value)

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._value(key, str, "a string", default))

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._value(key, bool, "true or false", default))

    def integer(self, key: str, default: int | None = None, minimum: int = 1, maximum: int | None = None) -> int:
        value = self._value(key, int, "a whole number", default)
        if isinstance(value, bool) or value < minimum:
            raise UserError(f"{self._path(key)} is {value!r}, expected a whole number of at least {minimum}")
        if maximum is not None and value > maximum:
            raise UserError(f"{self._path(key)} is {value!r}, expected a whole number of at most {maximum}")
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        return float(self._value(key, (int, float), "a number", default))

    def strings(self, key: str) -> tuple[str, ...]:
        return tuple(self._list(key, str, "strings"))

    def numbers(self, key: str, length: int | None = None) -> tuple[float, ...]:
        values = tuple(float(value) for value in self._list(key, (int, float), "numbers"))
        if length is not None and len(values) != length:
            raise UserError(f"{self._path(key)} has {len(values)} values, expected {length}")
        return values

    def _path(self, key: str) -> str:
        return f"{self.where} {key}" if self.where.endswith(":") else f"{self.where}.{key}"

    def _value(self, key: str, kind: type | tuple[type, ...], expected: str, default: Any = None) -> Any:
        value = self.fields.get(key)
        if value is None:
            value = default
        if value is None:
            raise UserError(f"{self._path(key)} is missing, expected {expected}")
        if not isinstance(value, kind):
            raise UserError(f"{self._path(key)} is {value!r}, expected {expected}")
        return value

    def _list(self, key: str, kind: type | tuple[type, ...], expected: str) -> list[Any]:
        values: list[Any] = self._value(key, list, f"a list of {expected}")
        if not all(isinstance(value, kind) for value in values):
            raise UserError(f"{self._path(key)} is {values!r}, expected a list of {expected}")
        return values
