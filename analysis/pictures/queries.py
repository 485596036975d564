"""Whose row is looked at, by the names of a link: action, action.x, rationale, rationale.plan, word.3, at.7.

The rules are the player's (app/components/player/query.js).
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import UserError
from models.types import RATIONALE_TITLES, AttentionRecord, Part, Prediction, Span


@dataclass(frozen=True)
class Token:
    """A row that can be asked."""

    row: int  # on the record's axis of queries
    position: int  # in the sequence, of what was written, or of what asks
    part: Part
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Query:
    rows: tuple[int, ...]
    words: str  # what a caption says


def is_vision(record: AttentionRecord) -> bool:
    return record.stream.startswith("vision")


def resolve(prediction: Prediction, record: AttentionRecord, query: str, patch: int = -1) -> Query:
    """The rows of a query. ``patch``: a position that a vision tower is asked. Raises UserError if there are none."""
    written = _written(prediction, record)
    if not written:
        return _of_prompt(record, query, patch)
    kind, _, name = query.partition(".")
    words = [token for token in written if token.part is Part.RATIONALE]
    if kind == "action":
        actions = [token for token in written if token.part is Part.ACTION]
        if not actions and not name and words:
            return Query(_rows(words), "whole text (mean)")
        said = f"action {name}" if name else f"all action {'tokens' if len(prediction.tokens) else 'steps'} (mean)"
        return Query(_rows(_named(actions, name, "action")), said)
    if not words:
        raise UserError("this checkpoint generated no rationale here: choose an action")
    if kind == "rationale":
        said = f"{RATIONALE_TITLES.get(name, name)} (mean)" if name else "whole rationale (mean)"
        return Query(_rows(_named(words, name, "rationale part")), said)
    if kind == "word" and name.isdecimal() and int(name) < len(words):
        word = words[int(name)]
        return Query((word.row,), f"word {int(name) + 1} “{word.text.strip()}”")
    raise UserError(
        f"the query {query!r} is not known at this step; there are action, rationale and word.0 to "
        f"word.{len(words) - 1}"
    )


def _written(prediction: Prediction, record: AttentionRecord) -> list[Token]:
    start = len(record.layout.tokens) - prediction.written
    out = []
    for row, index in enumerate(record.produced):
        if index >= 0:
            span = _span(record, start + index)
            plain = span.name.split(" ", 2)[-1] if span.name.startswith("step ") else span.name
            named = [entry.name for entry in prediction.action_distribution if entry.token == index]
            out.append(
                Token(row, start + index, span.part, (span.name, plain, *named), record.layout.tokens[start + index])
            )
    return out


def _of_prompt(record: AttentionRecord, query: str, patch: int) -> Query:
    asking = [
        Token(row, position, _span(record, position).part, (), record.layout.tokens[position])
        for row, position in enumerate(record.queries)
    ]
    kind, _, name = query.partition(".")
    at = patch if is_vision(record) else int(name) if kind == "at" and name.isdecimal() else -1
    if found := [token for token in asking if token.position == at]:
        said = f"patch {found[0].text}" if is_vision(record) else f"prompt word “{found[0].text.strip()}”"
        return Query(_rows(found), said)
    wanted = Part.IMAGE if is_vision(record) else Part.INSTRUCTION
    tokens = [token for token in asking if token.part is wanted] or asking
    if not tokens:
        raise UserError("no row was kept of what the model read at this step")
    return Query(_rows(tokens), "all patches (mean)" if is_vision(record) else "the instruction (mean)")


def _named(tokens: list[Token], name: str, kind: str) -> list[Token]:
    found = [token for token in tokens if not name or name in token.names]
    if not found:
        raise UserError(f"no row was kept for the {kind} {name or 'any'!r} at this step")
    return found


def _rows(tokens: list[Token]) -> tuple[int, ...]:
    return tuple(token.row for token in tokens)


def _span(record: AttentionRecord, position: int) -> Span:
    return next(span for span in record.layout.spans if span.start <= position < span.stop)
