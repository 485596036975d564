"""What the action reads: how far it moves when its attention to one part of the sequence is knocked out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from analysis.evidence.effect import change
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.records import Setting
from models.errors import UserError
from models.knock_out import NAMED, RouteCut
from models.policy import Knockable, Policy
from models.types import Part, Prediction, Rationale, Span

READ = (Part.IMAGE, Part.INSTRUCTION, Part.STATE, Part.RATIONALE)


@dataclass(frozen=True)
class RoutesProbe:
    """``route PART``, ``route PART:NAME``: `Change.size` when the route from the action to it is cut in all layers.

    Of each part of a rationale and each of several cameras by its name too. What the policy said of its own accord is
    forced both times, so that only the action can change.
    """

    name: ClassVar[str] = "routes"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        if policy.info.action_space is None:
            return f"{policy.info.name} predicts no actions"
        if not isinstance(policy, Knockable):
            return f"{policy.info.name} does not run through an attention function that can be cut"
        return None

    def settings(self) -> dict[str, Setting]:
        return {}

    def __call__(self, moment: Moment) -> Values:
        force = _spoken_first(moment.answer)
        try:
            before = moment.policy.predict(moment.observation, force=force) if force else moment.answer
        except UserError:
            return {}  # such as own words that the policy cannot be made to say again
        values: Values = {}
        for part in READ:
            own = [span for span in before.layout.spans if span.part is part]
            if own and _before_action(own[0], before):
                names = dict.fromkeys(span.name for span in own) if part in NAMED and len(own) > 1 else ()
                for name in ("", *names):
                    title = f"route {part}:{name}" if name else f"route {part}"
                    values[title] = self._effect(moment, before, force, RouteCut(Part.ACTION, part, key_name=name))
        return values

    def _effect(self, moment: Moment, before: Prediction, force: Rationale | None, cut: RouteCut) -> float:
        policy = moment.policy
        assert isinstance(policy, Knockable)
        try:
            after = policy.predict_without(moment.observation, [cut], force=force)
        except UserError:
            return math.nan  # such as a part without a word
        return change(before, after, policy.info.action_space).size


def _spoken_first(answer: Prediction) -> Rationale | None:
    """What the policy said before it acted."""
    words = [span for span in answer.layout.spans if span.part is Part.RATIONALE]
    return answer.rationale if words and _before_action(words[0], answer) else None


def _before_action(span: Span, answer: Prediction) -> bool:
    acts = answer.layout.positions(Part.ACTION)
    return bool(len(acts)) and span.start < int(acts.max())
