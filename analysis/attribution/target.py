"""What an attribution explains: one number of a prediction. NumPy only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import UserError
from models.types import Part, Prediction

Scalar = Literal["log-probability", "action"]
SCALARS: tuple[Scalar, ...] = ("log-probability", "action")
TOKENS = re.compile(r"token:(\d+)(?:-(\d+))?")
DIMENSION = re.compile(r"(?P<name>.+?)(?:@(?P<step>\d+))?")
WHOLE = "action"  # the text that names the whole action


@dataclass(frozen=True)
class Target:
    """Generated tokens (a rationale word, an action token), one action dimension, or (neither named) the whole action.

    ``scalar`` says which number of it: the log-probability (natural, full vocabulary, teacher-forced, summed over its
    tokens) of what the policy said, or the action in robot units: the expected value over the dimension's bins, or the
    value itself where the policy has no bins. The whole action as "action" is a vector, which only methods that
    measure how far it moves can explain.
    """

    tokens: tuple[int, ...] = ()  # indices in Prediction.tokens
    action: str | None = None  # name of a dimension, as in Prediction.action_names
    step: int = 0  # of the chunk; of a dimension and of the whole action
    scalar: Scalar = "log-probability"

    def __post_init__(self) -> None:
        if self.tokens and self.action is not None:
            raise UserError("a target is either tokens or an action dimension, not both")
        if self.scalar not in SCALARS:
            raise UserError(f"the explained number is {self.scalar!r}; it can be {' or '.join(SCALARS)}")

    @property
    def whole(self) -> bool:
        """Whether the whole action of the step is meant."""
        return not self.tokens and self.action is None

    @property
    def vector(self) -> bool:
        """Whether it is no single number but the whole action, which can only be measured by how far it moves."""
        return self.whole and self.scalar == "action"

    @property
    def text(self) -> str:
        """As `parse` reads it: ``token:4``, ``token:4-6``, ``x``, ``x@2``, ``action``, ``action@1``."""
        if self.tokens:
            first, last = self.tokens[0], self.tokens[-1]
            return f"token:{first}" if first == last else f"token:{first}-{last}"
        return f"{self.action or WHOLE}@{self.step}" if self.step else self.action or WHOLE

    @staticmethod
    def parse(text: str, scalar: Scalar | None = None) -> Target:
        """The target that ``text`` names; ``scalar`` None: log-probability of tokens, else the action's value."""
        if tokens := TOKENS.fullmatch(text.strip()):
            first = int(tokens[1])
            last = int(tokens[2]) if tokens[2] else first
            if last < first:
                raise UserError(f"the target {text!r} ends before it starts; write the first token first")
            return Target(tokens=tuple(range(first, last + 1)), scalar=scalar or "log-probability")
        found = DIMENSION.fullmatch(text.strip())
        if found is None:
            raise UserError(f"{text!r} is no target; write an action dimension (x, x@2), token:4, token:4-6 or action")
        name, step = found["name"], int(found["step"] or 0)
        return Target(action=None if name == WHOLE else name, step=step, scalar=scalar or "action")

    def stored(self) -> dict[str, Any]:
        """JSON values, as records keep them."""
        return {"tokens": list(self.tokens), "action": self.action, "step": self.step, "scalar": self.scalar}

    @staticmethod
    def read(stored: Mapping[str, Any]) -> Target:
        """What `stored` wrote. Raises ValueError or KeyError for something else."""
        return Target(tuple(int(t) for t in stored["tokens"]), stored["action"], int(stored["step"]), stored["scalar"])


def action_tokens(target: Target, prediction: Prediction) -> tuple[int, ...]:
    """Indices of the generated tokens that say the target; none for a policy of continuous actions.

    Raises UserError for a target that the prediction does not have.
    """
    check_target(target, prediction)
    if target.tokens:
        return target.tokens
    mine = [
        entry.token
        for entry in prediction.action_distribution
        if entry.step == target.step and target.action in (None, entry.name)
    ]
    return tuple(dict.fromkeys(mine))


def check_target(target: Target, prediction: Prediction) -> None:
    """Raises UserError for a target that the prediction does not have."""
    said = len(prediction.tokens)
    if target.tokens:
        if not all(0 <= token < said for token in target.tokens):
            raise UserError(f"the target is {target.text}; the policy wrote {said} tokens, 0 to {said - 1}")
        return
    steps, names = len(prediction.actions), prediction.action_names
    if target.action is not None and target.action not in names:
        raise UserError(f"there is no action dimension {target.action!r}; the policy has {', '.join(names) or 'none'}")
    if not 0 <= target.step < steps:
        raise UserError(f"the target is step {target.step} of the chunk; the policy predicted {steps} steps")


def positions_of(target: Target, prediction: Prediction) -> tuple[int, ...]:
    """Positions of the layout at which the target stands: those of its tokens, or of its step of a continuous chunk."""
    tokens, written = action_tokens(target, prediction), prediction.written
    start = len(prediction.layout.tokens) - written
    if tokens:
        return tuple(start + token for token in tokens)
    places = prediction.layout.positions(Part.ACTION)
    per_step = max(len(places) // max(len(prediction.actions), 1), 1)
    own = [int(place) for place in places[target.step * per_step : (target.step + 1) * per_step]]
    if target.action is not None and per_step == len(prediction.action_names):  # a position for each dimension
        return (own[prediction.action_names.index(target.action)],)
    return tuple(own)
