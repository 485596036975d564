"""Another instruction: blank, shuffled, another object, negated, paraphrased by rule, own words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from analysis import text_edits
from analysis.interventions.question import Question, Situation
from analysis.things import ROBOT, named
from models.errors import UserError
from models.policy import Policy

# Things that are often on tables, for episodes that do not know what is in view.
COMMON = ("carrot", "spoon", "plate", "towel", "cup", "bowl", "block", "apple", "can", "bottle", "sponge", "banana")


class _InstructionEdit(ABC):
    def why_not(self, policy: Policy) -> str | None:
        """Every policy reads an instruction."""
        return None

    def change(self, question: Question, situation: Situation) -> Question:
        old = question.observation.instruction
        new = self.text(old, situation)
        if new is None:
            raise UserError(f"the instruction {old!r} cannot be changed so: {self.needs}")
        return replace(question, observation=replace(question.observation, instruction=new))

    needs: ClassVar[str] = ""

    @abstractmethod
    def text(self, old: str, situation: Situation) -> str | None:
        """The new instruction; None where it cannot be changed so."""


@dataclass(frozen=True)
class BlankInstruction(_InstructionEdit):
    kind: ClassVar[str] = "blank instruction"

    def describe(self) -> str:
        return "instruction left blank"

    def text(self, old: str, situation: Situation) -> str | None:
        return ""


@dataclass(frozen=True)
class ShuffledInstruction(_InstructionEdit):
    kind: ClassVar[str] = "shuffled instruction"
    needs: ClassVar[str] = "it takes two different words"
    seed: int = 0

    def describe(self) -> str:
        return f"words of the instruction shuffled (seed {self.seed})"

    def text(self, old: str, situation: Situation) -> str | None:
        return text_edits.shuffled(old, self.seed)


@dataclass(frozen=True)
class OtherObject(_InstructionEdit):
    """A thing that the instruction names, replaced: by one in view, or else by one from a list of common things."""

    kind: ClassVar[str] = "other object"
    needs: ClassVar[str] = "it names nothing that is in view or on the list of common things"
    name: str = ""  # empty: the first that is named
    other: str = ""  # empty: the first that is free

    def describe(self) -> str:
        return f"instruction asks for {f'the {self.other}' if self.other else 'another object'}" + (
            f" instead of the {self.name}" if self.name else ""
        )

    def text(self, old: str, situation: Situation) -> str | None:
        seen = tuple(dict.fromkeys(thing.name for thing in situation.objects if not ROBOT.search(thing.name)))
        names = (self.name,) if self.name else (*seen, *COMMON)
        if self.name and not named(self.name, old):
            raise UserError(f"the instruction {old!r} does not name {self.name!r}")
        return text_edits.other_object(old, names, (self.other,) if self.other else (*seen, *COMMON))


@dataclass(frozen=True)
class NegatedInstruction(_InstructionEdit):
    kind: ClassVar[str] = "negated instruction"
    needs: ClassVar[str] = "it is empty"

    def describe(self) -> str:
        return "instruction negated (do not ...)"

    def text(self, old: str, situation: Situation) -> str | None:
        return text_edits.negated(old)


@dataclass(frozen=True)
class ParaphrasedInstruction(_InstructionEdit):
    """By rule: a verb by its synonym, else "please" before it. Not a language model's paraphrase."""

    kind: ClassVar[str] = "paraphrased instruction"
    needs: ClassVar[str] = "it is empty"

    def describe(self) -> str:
        return "instruction paraphrased by rule (verb by synonym)"

    def text(self, old: str, situation: Situation) -> str | None:
        return text_edits.paraphrased(old)


@dataclass(frozen=True)
class OwnInstruction(_InstructionEdit):
    kind: ClassVar[str] = "own instruction"
    words: str = ""

    def describe(self) -> str:
        return f"instruction: “{self.words}”"

    def text(self, old: str, situation: Situation) -> str | None:
        return self.words
