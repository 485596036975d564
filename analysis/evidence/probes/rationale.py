"""What happens to the action when the rationale that the policy wrote is edited and forced upon it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from analysis.evidence.effect import change
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.records import Setting
from analysis.text_edits import (
    changed_words,
    opposite,
    swapped,
    with_random_words,
    without_part,
    without_words,
    words_in,
)
from analysis.things import named
from models.errors import UserError
from models.policy import Policy
from models.types import Part, Prediction, Rationale

CHANGES_OF_MEANING = ("contrary", "another step")  # edits that have a control of random words
CONTROLS = 3  # draws of one; a single draw from a short rationale meets the words of the edit too often


@dataclass(frozen=True)
class RationaleProbe:
    """``rationale EDIT``: `Change.size` between the answer with its own rationale forced and with the edited one.

    ``swap``: a thing of the instruction and another one in each other's place. ``opposite``: words of direction and
    state (left, open ...) by their opposites. ``contrary``: both. ``another step``: what the policy says half the
    episode away. ``random for EDIT``, of the last two: as many words as EDIT changed, replaced at random places by
    random words of these rationales, the mean of three draws; ``random`` is the mean of both. ``drop``: without one
    part, drawn at random. ``none``: without any word.
    ``rationale first``: 1 where actions follow the rationale, 0 where they are written before it.
    """

    seed: int = 0

    name: ClassVar[str] = "rationale"
    version: ClassVar[int] = 2

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.generates_rationale else f"{policy.info.name} writes no rationale"

    def settings(self) -> dict[str, Setting]:
        return {"seed": self.seed}

    def __call__(self, moment: Moment) -> Values:
        own = moment.answer.rationale
        if own is None or not _first(moment.answer):
            return {"rationale first": 1.0 if own is None else 0.0}
        other = self._elsewhere(moment)
        swap = self._swap(moment, own)
        edits = {
            "swap": _changed(own, swap),
            "opposite": _changed(own, opposite(own)),
            "contrary": _changed(own, opposite(swap)),
            "another step": _changed(own, other),
            "drop": _without_one(own, moment.seed(self.seed)),
            "none": _changed(own, without_words(own)),
        }
        pool = words_in(*[each for each in (own, other) if each is not None])
        before = self._forced(moment, own)
        values: Values = {"rationale first": 1.0}
        for name, edited in edits.items():
            values[f"rationale {name}"] = self._effect(moment, before, edited)
            if edited is not None and name in CHANGES_OF_MEANING:
                count = changed_words(own, edited)
                seeds = [moment.seed(self.seed + CONTROLS * len(name) + draw) for draw in range(CONTROLS)]
                noises = [with_random_words(own, count, pool, seed) for seed in seeds]
                values[f"rationale random for {name}"] = _mean([self._effect(moment, before, each) for each in noises])
        return values | {"rationale random": _mean([value for name, value in values.items() if "random for" in name])}

    def _swap(self, moment: Moment, own: Rationale) -> Rationale:
        """The first thing that the instruction names and the rationale mentions exchanged with another one in view."""
        names = moment.names_in_view()
        ours = [name for name in names if named(name, moment.observation.instruction) and named(name, own.text)]
        others = [name for name in names if not named(name, moment.observation.instruction)] or names
        free = [name for name in others if name not in ours[:1]]
        return swapped(own, ours[0], free[0]) if ours and free else own

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


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _changed(own: Rationale, edited: Rationale | None) -> Rationale | None:
    """None where the edit changed nothing."""
    return edited if edited is not None and edited.parts != own.parts else None


def _without_one(own: Rationale, draw: int) -> Rationale | None:
    """Without one of its parts; None where it has only one.

    Drawn, not in turn: measured steps are evenly spread, and turns would meet the same part again and again.
    """
    names = list(own.parts)
    return without_part(own, names[draw % len(names)]) if len(names) > 1 else None


def _first(answer: Prediction) -> bool:
    """Whether any rationale stands before the last action."""
    words, acts = answer.layout.positions(Part.RATIONALE), answer.layout.positions(Part.ACTION)
    return bool(len(words) and len(acts) and words.min() < acts.max())
