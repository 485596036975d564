"""Attention knocked out while the policy runs: routes between parts of the sequence, and single heads."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from analysis.interventions.question import Question, Situation
from models.errors import UserError
from models.knock_out import HeadCut, Place, RouteCut, check_cuts
from models.policy import Knockable, Policy
from models.types import Part

ROUTE = re.compile(r"(?P<queries>.+?)->(?P<keys>[^@#]+)(?:@(?P<layers>[\d,-]+))?(?:#(?P<heads>[\d,-]+))?")
MOST = 10_000  # layers or heads
HEAD = re.compile(r"(?:(?P<stream>language|expert):)?(?P<layer>\d+)\.(?P<head>\d+)")


class _KnockOut(ABC):
    def why_not(self, policy: Policy) -> str | None:
        if not isinstance(policy, Knockable):
            return f"{policy.info.name} does not run through an attention function that can be cut"
        try:
            check_cuts([self.cut], policy.info)
        except UserError as error:
            return str(error)
        return None

    def describe(self) -> str:
        return f"knocked out: {self.cut}"

    def change(self, question: Question, situation: Situation) -> Question:
        return replace(question, cuts=(*question.cuts, self.cut))

    @property
    @abstractmethod
    def cut(self) -> RouteCut | HeadCut: ...


@dataclass(frozen=True)
class KnockOutRoute(_KnockOut):
    """See `models.knock_out.RouteCut`. Both ends: a part, or one of its name as in image:wrist, rationale:planning."""

    kind: ClassVar[str] = "knock out route"
    queries: str
    keys: str
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None

    @property
    def cut(self) -> RouteCut:
        (queries, query_name), (keys, key_name) = _place(self.queries), _place(self.keys)
        return RouteCut(queries, keys, self.layers, self.heads, key_name, query_name)


@dataclass(frozen=True)
class KnockOutHead(_KnockOut):
    """See `models.knock_out.HeadCut`."""

    kind: ClassVar[str] = "knock out head"
    layer: int
    head: int
    stream: str = "language"

    @property
    def cut(self) -> HeadCut:
        return HeadCut(self.layer, self.head, self.stream)


def parse_route(text: str) -> KnockOutRoute:
    """``action->image@0-3``, of one camera ``action->image:wrist``, in some heads ``action->image@2#0,5``; of one part
    of the rationale ``action->rationale:planning``.

    Raises UserError for anything else.
    """
    found = ROUTE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no knock-out; write it as in action->image@0-3, action->image:wrist@2#0,5")
    _place(found["queries"]), _place(found["keys"])
    return KnockOutRoute(
        found["queries"], found["keys"], _numbers(found["layers"], text), _numbers(found["heads"], text)
    )


def parse_head(text: str) -> KnockOutHead:
    """``2.5``: layer 2, head 5; ``expert:2.5`` of the action expert. Raises UserError for anything else."""
    found = HEAD.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no head; write layer and head as in 2.5, of the action expert as in expert:2.5")
    stream = "action expert" if found["stream"] == "expert" else "language"
    return KnockOutHead(int(found["layer"]), int(found["head"]), stream)


def _place(text: str) -> Place:
    """``rationale:planning``, or a part alone."""
    name, _, own = text.partition(":")
    try:
        return Part(name), own
    except ValueError:
        raise UserError(f"there is no part {name!r} of a sequence; there are {', '.join(Part)}") from None


def _numbers(text: str | None, whole: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    found: set[int] = set()
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(piece) > 9 or int(last or first) > MOST:
            raise UserError(f"{text!r} in {whole!r} is no list of numbers; write it as in 0-3,7")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))
