"""Another rationale, forced on the policy: a part dropped, entities swapped, shuffled, another step's, own words.

Every edit starts from what is forced already (several edits combine), else from the policy's own words at this step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from analysis import text_edits
from analysis.interventions.question import Intervention, Question, Situation, with_rationale
from models.errors import UserError
from models.policy import Policy
from models.rationale_text import UNNAMED
from models.types import Rationale


class _RationaleEdit(ABC):
    def why_not(self, policy: Policy) -> str | None:
        if not policy.info.generates_rationale:
            return f"{policy.info.name} writes no rationale, so none can be changed"
        return None

    def change(self, question: Question, situation: Situation) -> Question:
        return with_rationale(question, self.rationale(_current(question, situation), situation))

    @abstractmethod
    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        """What is forced instead. Raises UserError where the old one cannot be changed so."""


@dataclass(frozen=True)
class DropPart(_RationaleEdit):
    kind: ClassVar[str] = "drop part"
    part: str

    def describe(self) -> str:
        return f"rationale without its part “{self.part}”"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        if self.part not in old.parts:
            raise UserError(f"the rationale has no part {self.part!r}; it has {', '.join(old.parts) or 'none'}")
        return text_edits.without_part(old, self.part)


@dataclass(frozen=True)
class SwapWords(_RationaleEdit):
    """Two entities (or words such as left and right) in each other's place, everywhere."""

    kind: ClassVar[str] = "swap words"
    one: str
    other: str

    def describe(self) -> str:
        return f"rationale with “{self.one}” and “{self.other}” swapped"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        new = text_edits.swapped(old, self.one, self.other)
        return _changed(old, new, f"it says neither {self.one!r} nor {self.other!r}")


@dataclass(frozen=True)
class ShuffleWords(_RationaleEdit):
    """Words of every part in another order, inside the part."""

    kind: ClassVar[str] = "shuffle words"
    seed: int = 0

    def describe(self) -> str:
        return f"words of the rationale shuffled inside each part (seed {self.seed})"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        return _changed(old, text_edits.shuffled_words(old, self.seed), "it has no part of two different words")


@dataclass(frozen=True)
class ShuffleSentences(_RationaleEdit):
    """All sentences in another order, across parts; every part keeps its number of sentences."""

    kind: ClassVar[str] = "shuffle sentences"
    seed: int = 0

    def describe(self) -> str:
        return f"sentences of the rationale shuffled across parts (seed {self.seed})"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        return _changed(old, text_edits.shuffled_sentences(old, self.seed), "it has no two different sentences")


@dataclass(frozen=True)
class RandomWords(_RationaleEdit):
    """As many words at random places as another edit changes, replaced by random others: the control of that edit."""

    kind: ClassVar[str] = "random words"
    count: int
    seed: int = 0

    def describe(self) -> str:
        return f"{self.count} words of the rationale replaced at random (seed {self.seed})"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        instruction = Rationale({"": situation.observation.instruction})
        pool = text_edits.words_in(old, instruction)
        new = text_edits.with_random_words(old, self.count, pool, self.seed)
        return _changed(old, new, "it has no word to replace")


@dataclass(frozen=True)
class OtherRationale(_RationaleEdit):
    """What the policy says at another step, of this episode or of another one."""

    kind: ClassVar[str] = "other step"
    step: int
    episode: str | None = None

    def describe(self) -> str:
        where = f" of episode {self.episode}" if self.episode is not None else ""
        return f"rationale of step {self.step}{where}"

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        if situation.said_at is None:
            raise UserError("there is no episode here to take another step's rationale from")
        found = situation.said_at(self.episode, self.step)
        if found is None:
            raise UserError(f"the policy says nothing at step {self.step}")
        return found


@dataclass(frozen=True)
class OwnRationale(_RationaleEdit):
    """Own words, part by part."""

    kind: ClassVar[str] = "own rationale"
    parts: Mapping[str, str] = field(hash=False)

    def describe(self) -> str:
        said = " ".join(text for text in self.parts.values() if text)
        return f"rationale: “{said}”" if said else "rationale left blank"

    def change(self, question: Question, situation: Situation) -> Question:
        said = situation.answer.rationale
        own = self.rationale(said or Rationale({}), situation)
        if set(own.parts) <= {UNNAMED} and UNNAMED not in (said.parts if said else ()):
            return replace(question, force=own.parts.get(UNNAMED, ""))  # words as they are, their parts not told
        return with_rationale(question, own)

    def rationale(self, old: Rationale, situation: Situation) -> Rationale:
        return replace(old, parts={name: text for name, text in self.parts.items() if text})


REWORDING = (DropPart, SwapWords, ShuffleWords, ShuffleSentences, RandomWords, OtherRationale, OwnRationale)


def spelled_out(interventions: Sequence[Intervention], situation: Situation) -> tuple[Intervention, ...]:
    """With what is said at another step as own words: for worlds, where there is no episode to look it up in."""
    return tuple(
        OwnRationale(dict(each.rationale(Rationale({}), situation).parts)) if isinstance(each, OtherRationale) else each
        for each in interventions
    )


def same_length(edit: _RationaleEdit, situation: Situation, seed: int = 0) -> RandomWords:
    """The control of ``edit``: as many random words changed. Raises UserError where the edit cannot be made."""
    old = _current(Question(situation.observation), situation)
    return RandomWords(text_edits.changed_words(old, edit.rationale(old, situation)), seed)


def _current(question: Question, situation: Situation) -> Rationale:
    if isinstance(question.force, str):
        return Rationale({UNNAMED: question.force})
    if question.force is not None:
        return question.force
    if situation.answer.rationale is None:
        raise UserError("the policy said nothing at this step, so there is no rationale to change; write own words")
    return situation.answer.rationale


def _changed(old: Rationale, new: Rationale, why: str) -> Rationale:
    if dict(new.parts) == dict(old.parts):
        raise UserError(f"the rationale cannot be changed so: {why}")
    return new
