"""What a map is about: numbers of an action, or words; hiding what it points at should move these. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.attribution.target import Scalar, Target, positions_of
from models.errors import UserError
from models.types import Part, Prediction

STEP = re.compile(r"step (\d+)(?: (.+))?")  # a step of a chunk, or one of its dimensions, as queries name them


@dataclass(frozen=True)
class Aim:
    """``actions``: (step of the chunk, dimension); where there are none, ``words``: places in `Prediction.tokens`."""

    actions: frozenset[tuple[int, str]] = frozenset()
    words: tuple[int, ...] = ()


def whole_action(said: Prediction) -> Aim:
    """Every dimension of every step; of a policy without actions everything that it wrote."""
    steps = range(len(said.actions))
    actions = frozenset((step, name) for step in steps for name in said.action_names)
    return Aim(actions) if actions else Aim(words=tuple(range(len(said.tokens))))


def aim_of_rows(said: Prediction, produced: Sequence[int]) -> Aim:
    """Of attention rows, by what they ``produced`` (as in `AttentionRecord`); rows that wrote nothing: the action."""
    wrote = [place for place in produced if place >= 0]
    if not wrote:
        return whole_action(said)
    if len(said.tokens):
        return _of_tokens(said, wrote)
    names, steps = said.action_names, len(said.actions)
    each = len(said.layout.positions(Part.ACTION)) // max(steps, 1) == len(names)  # a position for each dimension
    if not each:
        return Aim(frozenset((place, name) for place in wrote for name in names))
    return Aim(frozenset((place // len(names), names[place % len(names)]) for place in wrote))


def aim_of_target(said: Prediction, target: Target) -> Aim:
    """Of an attribution."""
    if target.tokens:
        return _of_tokens(said, target.tokens)
    start = len(said.layout.tokens) - said.written
    found = aim_of_rows(said, [position - start for position in positions_of(target, said)])
    return Aim(frozenset(each for each in found.actions if target.action in (None, each[1])), found.words)


def target_of(said: Prediction, query: str, scalar: Scalar | None = None) -> Target:
    """What an attribution explains, by the names of a link: action, action.x, action.step 2, rationale.plan, word.3.

    The rules are the player's (app/components/player/attribution.js). ``scalar`` None: log-probability of tokens, else
    the action's value. Raises UserError where the policy did not say that.
    """
    kind, _, name = query.partition(".")
    if kind == "action" and said.action_names:
        if not name or name in said.action_names:
            return Target.parse(name or "action", scalar)
        if step := STEP.fullmatch(name):
            return Target.parse(f"{step[2] or 'action'}@{step[1]}", scalar)
        return _tokens(_places(said, Part.ACTION, name), query, scalar)
    words = _places(said, Part.RATIONALE, name if kind == "rationale" else "")
    if kind == "word":
        words = words[int(name) :][:1] if name.isdecimal() else []
    elif kind not in ("action", "rationale"):
        raise UserError(f"{query!r} is nothing that a policy says; write action, action.x, rationale or word.3")
    return _tokens(words, query, None if scalar == "action" else scalar)


def query_of(target: Target) -> str | None:
    """The query that means ``target`` to `target_of`; None of tokens, whose names only an answer tells."""
    if target.tokens:
        return None
    if not target.step:
        return f"action.{target.action}" if target.action else "action"
    return f"action.step {target.step} {target.action or ''}".strip()


def _places(said: Prediction, part: Part, name: str) -> list[int]:
    start = len(said.layout.tokens) - said.written
    spans = (
        span for span in said.layout.spans if span.part is part and name in ("", span.name) and span.start >= start
    )
    return [position - start for span in spans for position in range(span.start, span.stop)]


def _tokens(places: Sequence[int], query: str, scalar: Scalar | None) -> Target:
    if not places:
        raise UserError(f"the policy did not say {query!r} at this step")
    return Target(tuple(range(min(places), max(places) + 1)), scalar=scalar or "log-probability")


def _of_tokens(said: Prediction, tokens: Sequence[int]) -> Aim:
    entries = frozenset((entry.step, entry.name) for entry in said.action_distribution if entry.token in set(tokens))
    return Aim(entries) if entries else Aim(words=tuple(tokens))
