"""Attention knocked out while the policy runs: routes between parts of the sequence, and single heads."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from analysis.interventions.question import Question, Situation
from models.errors import UserError
from models.knock_out import HeadCut, RouteCut, check_cuts
from models.policy import Knockable, Policy
from models.types import Part

ROUTE = re.compile(
    r"(?P<q>[a-z]+)->(?P<k>[a-z]+)(?::(?P<camera>[^@#]+))?(?:@(?P<layers>[\d,-]+))?(?:#(?P<heads>[\d,-]+))?"
)
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
    """See `models.knock_out.RouteCut`."""

    kind: ClassVar[str] = "knock out route"
    queries: str
    keys: str
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    camera: str = ""

    @property
    def cut(self) -> RouteCut:
        return RouteCut(_part(self.queries), _part(self.keys), self.layers, self.heads, self.camera)


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
    """``action->image@0-3``, of one camera ``action->image:wrist``, in some heads ``action->image@2#0,5``.

    Raises UserError for anything else.
    """
    found = ROUTE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no knock-out; write it as in action->image@0-3, action->image:wrist@2#0,5")
    _part(found["q"]), _part(found["k"])
    return KnockOutRoute(
        found["q"], found["k"], _numbers(found["layers"], text), _numbers(found["heads"], text), found["camera"] or ""
    )


def parse_head(text: str) -> KnockOutHead:
    """``2.5``: layer 2, head 5; ``expert:2.5`` of the action expert. Raises UserError for anything else."""
    found = HEAD.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{text!r} is no head; write layer and head as in 2.5, of the action expert as in expert:2.5")
    stream = "action expert" if found["stream"] == "expert" else "language"
    return KnockOutHead(int(found["layer"]), int(found["head"]), stream)


def _part(name: str) -> Part:
    try:
        return Part(name)
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
