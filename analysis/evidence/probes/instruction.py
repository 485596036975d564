"""What happens to the action when the instruction is edited."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from analysis.evidence.effect import change
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.records import Setting
from analysis.text_edits import negated, other_object, paraphrased, shuffled
from analysis.things import named
from models.errors import UserError
from models.policy import Policy


@dataclass(frozen=True)
class InstructionProbe:
    """``instruction EDIT``: `Change.size` between the policy's answer and the one to the edited instruction.

    The policy answers anew, its rationale too. ``other object`` names a thing that is in view and was not named.
    """

    seed: int = 0

    name: ClassVar[str] = "instruction"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.action_space is not None else f"{policy.info.name} predicts no actions"

    def settings(self) -> dict[str, Setting]:
        return {"seed": self.seed}

    def __call__(self, moment: Moment) -> Values:
        return {f"instruction {name}": self._effect(moment, text) for name, text in self.edits(moment).items()}

    def edits(self, moment: Moment) -> dict[str, str | None]:
        """The edited instructions; None where an edit cannot be made."""
        text = moment.observation.instruction
        names = moment.names_in_view()
        others = [name for name in names if not named(name, text)]
        return {
            "blank": "" if text.strip() else None,
            "shuffled": shuffled(text, moment.seed(self.seed)),
            "other object": other_object(text, names, others),
            "negated": negated(text),
            "paraphrase": paraphrased(text),
        }

    def _effect(self, moment: Moment, text: str | None) -> float:
        if text is None:
            return math.nan
        try:
            after = moment.policy.predict(replace(moment.observation, instruction=text))
        except UserError:
            return math.nan  # such as an empty instruction that the policy cannot read
        return change(moment.answer, after, moment.policy.info.action_space).size
