"""What happens to the action when the rationale that the policy wrote is edited and forced upon it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from analysis.evidence.effect import change
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.records import Setting
from analysis.text_edits import changed_words, swapped, with_random_words, without_part, words_in
from analysis.things import named
from models.errors import UserError
from models.policy import Policy
from models.types import Part, Prediction, Rationale


@dataclass(frozen=True)
class RationaleProbe:
    """``rationale EDIT``: `Change.size` between the answer with its own rationale forced and with the edited one.

    ``swap``: a thing of the instruction and another one in each other's place. ``another step``: what the policy says
    half the episode away. ``drop``: without one part, by turns. ``random for EDIT``: as many words as EDIT changed,
    replaced at random places by random words of these rationales; ``random`` is their mean.
    ``rationale first``: 1 where actions follow the rationale, 0 where they are written before it.
    """

    seed: int = 0

    name: ClassVar[str] = "rationale"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.generates_rationale else f"{policy.info.name} writes no rationale"

    def settings(self) -> dict[str, Setting]:
        return {"seed": self.seed}

    def __call__(self, moment: Moment) -> Values:
        own = moment.answer.rationale
        if own is None or not _first(moment.answer):
            return {"rationale first": 1.0 if own is None else 0.0}
        other = self._elsewhere(moment)
        edits = {
            "swap": self._swap(moment, own),
            "another step": other if other is not None and other.parts != own.parts else None,
            "drop": _without_one(own, moment.step.index),
        }
        pool = words_in(*[each for each in (own, other) if each is not None])
        before = self._forced(moment, own)
        values: Values = {"rationale first": 1.0}
        for name, edited in edits.items():
            values[f"rationale {name}"] = self._effect(moment, before, edited)
            if edited is not None and name != "drop":
                count = changed_words(own, edited)
                noise = with_random_words(own, count, pool, moment.seed(self.seed + len(name)))
                values[f"rationale random for {name}"] = self._effect(moment, before, noise)
        random = [value for name, value in values.items() if "random for" in name and not math.isnan(value)]
        return values | {"rationale random": sum(random) / len(random) if random else math.nan}

    def _swap(self, moment: Moment, own: Rationale) -> Rationale | None:
        """The first thing that the instruction names and the rationale mentions, with another one in view."""
        names = moment.names_in_view()
        ours = [name for name in names if named(name, moment.observation.instruction) and named(name, own.text)]
        others = [name for name in names if not named(name, moment.observation.instruction)] or names
        free = [name for name in others if name not in ours[:1]]
        if not ours or not free:
            return None
        edited = swapped(own, ours[0], free[0])
        return edited if edited.parts != own.parts else None

    def _elsewhere(self, moment: Moment) -> Rationale | None:
        length = moment.episode.meta.length
        step = moment.episode.step((moment.step.index + length // 2) % length)
        return moment.policy.predict(moment.cameras.seen(step.observation)).rationale if length > 1 else None

    def _forced(self, moment: Moment, rationale: Rationale) -> Prediction | None:
        try:
            return moment.policy.predict(moment.observation, force=rationale)
        except UserError:
            return None  # such as words that the policy does not have, or more than it can read

    def _effect(self, moment: Moment, before: Prediction | None, edited: Rationale | None) -> float:
        after = self._forced(moment, edited) if edited is not None else None
        if before is None or after is None:
            return math.nan
        return change(before, after, moment.policy.info.action_space).size


def _without_one(own: Rationale, turn: int) -> Rationale | None:
    """Without one of its parts, counted round; None where it has only one."""
    names = list(own.parts)
    return without_part(own, names[turn % len(names)]) if len(names) > 1 else None


def _first(answer: Prediction) -> bool:
    """Whether any rationale stands before the last action."""
    words, acts = answer.layout.positions(Part.RATIONALE), answer.layout.positions(Part.ACTION)
    return bool(len(words) and len(acts) and words.min() < acts.max())
