"""How far the policy's action is from the recorded one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.evidence.effect import action_distance
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.records import Setting
from models.policy import Policy


@dataclass(frozen=True)
class ActionProbe:
    """``action error``: mean over dimensions of |predicted - recorded| / (high - low), first step of the chunk.

    ``action entropy``: mean entropy of the action distributions, 0 to 1 of the most that their bins allow.
    ``action DIMENSION``: the predicted value of the first step, divided by (high - low).
    """

    name: ClassVar[str] = "action"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        return None if policy.info.action_space is not None else f"{policy.info.name} predicts no actions"

    def settings(self) -> dict[str, Setting]:
        return {}

    def __call__(self, moment: Moment) -> Values:
        said, meta = moment.answer, moment.episode.meta
        recorded = moment.step.action[None].astype(np.float64)
        units = said.action_units == meta.action_units or not any(meta.action_units)
        fits = said.action_names == meta.action_names and units and len(said.actions) > 0
        error = float("nan")  # where the episode's action has other dimensions
        if fits:
            error = action_distance(said.actions[:1], recorded, said.action_names, moment.policy.info.action_space)
        return {"action error": error, "action entropy": _entropy(moment)} | _scaled(moment)


def _scaled(moment: Moment) -> Values:
    """What was predicted, so that two policies can be compared step by step."""
    said, space = moment.answer, moment.policy.info.action_space
    if space is None or not len(said.actions) or said.action_names != space.names:
        return {}
    found: Values = {}
    for value, name, low, high in zip(said.actions[0], space.names, space.low, space.high, strict=True):
        if np.isfinite(high - low) and high > low:
            found[f"action {name}"] = float(value) / (high - low)
    return found


def _entropy(moment: Moment) -> float:
    found = []
    for entry in moment.answer.action_distribution:
        p = entry.probabilities[entry.probabilities > 0]
        found.append(float(-(p * np.log(p)).sum() / np.log(len(entry.probabilities))))
    return float(np.mean(found)) if found else float("nan")
