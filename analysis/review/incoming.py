"""Lines of JSON as rationales and reviews, read with a sentence for each that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.review.item import Source
from analysis.review.judgement import MAX_TEXT
from analysis.workspace import Workspace
from models.errors import UserError
from models.types import Rationale

MAX_LINE = 50_000_000  # characters
KINDS = ("project", "version", "item", "rationale", "review", "adjudication", "gold", "final")
ARCHIVE = (
    "project",
    "review",
    "adjudication",
    "gold",
)  # what only an archive has; other lines are rationales to review


@dataclass(frozen=True)
class Line:
    """One object of the file."""

    number: int  # from 1
    kind: str
    values: Mapping[str, Any]

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._value(key, str, "a text", default))

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._value(key, int, "a whole number", default)
        if isinstance(value, bool):
            raise UserError(f"line {self.number}: {key!r} is {value!r}; expected a whole number")
        return int(value)

    def object(self, key: str, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return dict(self._value(key, dict, "an object", default))

    def optional(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def number_or_none(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if (number := _finite(value)) is None:
            raise UserError(f"line {self.number}: {key!r} is {value!r:.80}; expected a number or null")
        return number

    def time(self, key: str) -> datetime:
        """A moment with its time zone."""
        try:
            moment = datetime.fromisoformat(self.text(key))
        except ValueError:
            moment = datetime.min
        if moment.tzinfo is None:
            raise UserError(
                f"line {self.number}: {key!r} is {self.values[key]!r:.80}; expected a time with its zone, such as "
                "2026-01-31T12:00:00+00:00"
            )
        return moment

    def _value(self, key: str, kind: type, expected: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if not isinstance(value, kind):
            raise UserError(f"line {self.number}: {key!r} is {value!r:.80}; expected {expected}")
        return value


def read_file(path: Path) -> list[Line]:
    """All lines of a file. Raises UserError for one that cannot be read."""
    try:
        with path.expanduser().open("rb") as stream:
            return list(read_stream(stream))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def read_stream(stream: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a binary file in UTF-8, with or without a byte order mark. Only a line feed ends a line: the signs
    that Unicode counts as line ends too, such as U+2028, may stand in a text. Raises UserError as `read_lines` does.
    """
    return read_lines(_decoded(data, number) for number, data in enumerate(stream, 1))


def _decoded(data: bytes, number: int) -> str:
    try:
        return data.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise UserError(f"line {number} is no text in UTF-8; save the file as UTF-8") from None


def read_lines(texts: Iterable[str]) -> Iterator[Line]:
    """Empty lines are passed over; a line without a kind is a rationale. Raises UserError for one that is no object."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            if len(text) > MAX_LINE:
                raise ValueError(f"it has {len(text):,} characters")
            values = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise UserError(f"line {number} is no JSON that can be read: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"line {number} is a JSON {type(values).__name__}; expected an object")
        kind = values.get("kind", "rationale")
        if kind not in KINDS:
            raise UserError(f"line {number} is of the kind {kind!r:.80}; expected one of {', '.join(KINDS)}")
        yield Line(number, kind, values)


def is_archive(lines: Iterable[Line]) -> bool:
    """Whether the file holds reviews or decisions, which `ReviewStore.restore` takes, and not rationales alone."""
    return any(line.kind in ARCHIVE for line in lines)


def read_rationales(lines: Sequence[Line], workspace: Workspace) -> list[Source]:
    """The rationales of a file that is no archive, as `read_rationale` reads each.

    Outcomes (``final``) count only where no line is an item: they say the items once more, with corrections.
    """
    items = any(line.kind == "item" for line in lines)
    kinds = ("rationale", "item") if items else ("rationale", "final")
    return [read_rationale(line, workspace) for line in lines if line.kind in kinds]


def read_rationale(line: Line, workspace: Workspace | None = None) -> Source:
    """The rationale of a line of kind ``rationale`` or ``item``.

    Where digest and instruction are left out they are looked up in ``workspace``. Raises UserError, naming the line,
    for one that cannot be used.
    """
    parts = line.object("parts")
    if not parts or not all(isinstance(text, str) for text in parts.values()):
        raise UserError(f"line {line.number}: 'parts' is {parts!r:.80}; expected an object of part name and text")
    if long := next((part for part, text in parts.items() if len(text) > MAX_TEXT), None):
        raise UserError(f"line {line.number}: part {long!r:.80} has more than {MAX_TEXT:,} characters")
    start = line.integer("start")
    stop = line.integer("stop", start + 1)
    if not 0 <= start < stop <= 2**31 - 1:
        raise UserError(f"line {line.number}: the steps are {start} to {stop}; expected 0 <= start < stop")
    scores = line.object("scores", {})
    numbers = {name: number for name, value in scores.items() if (number := _finite(value)) is not None}
    if len(numbers) < len(scores):
        raise UserError(f"line {line.number}: 'scores' is {scores!r:.80}; expected an object of names and numbers")
    said = Rationale(parts, start, stop, line.text("author", ""))
    return Source(*_where(line, workspace, stop), said, numbers, line.text("record", ""))


def _where(line: Line, workspace: Workspace | None, stop: int) -> tuple[str, str, str, str]:
    episode, dataset = line.text("episode"), line.optional("dataset")
    if workspace is None or ("episode_digest" in line.values and "instruction" in line.values and dataset is not None):
        return dataset or "", episode, line.text("episode_digest", ""), line.text("instruction", "")
    try:
        names = [dataset] if dataset is not None else [entry.name for entry in workspace.datasets()]
        found = {name: one for name in names if (one := _opened(workspace, episode, name)) is not None}
        if len(found) != 1:
            where = f"in {' and '.join(found)}; say which with 'dataset'" if found else f"not in {', '.join(names)}"
            raise UserError(f"the episode {episode!r:.80} is {where}")
    except UserError as error:
        raise UserError(f"line {line.number}: {error}") from None
    ((name, meta),) = found.items()
    if stop > meta.length:
        raise UserError(f"line {line.number}: the rationale goes up to step {stop}; {episode!r:.80} has {meta.length}")
    return name, episode, meta.digest, meta.instruction


def _opened(workspace: Workspace, episode: str, dataset: str) -> Any:
    try:
        return workspace.episode(episode, dataset).meta
    except UserError:
        return None


def _finite(value: object) -> float | None:
    """The value as a number; None for anything else, and for one that is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
