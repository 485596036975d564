"""What perturbation methods share: who can be asked, and what a changed value counts as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from analysis.attribution.features import Feature
from analysis.attribution.scoring import Scorer
from analysis.records import Setting
from models.policy import Policy


def why_not(policy: Policy) -> str | None:
    """Every policy that says anything can be asked again about a changed observation."""
    if policy.info.action_space is None and not policy.info.generates_rationale:
        return f"{policy.info.name} says neither words nor actions"
    return None


def change(scorer: Scorer, values: Float[np.ndarray, "B D"]) -> Float[np.ndarray, " B"]:
    """What hiding took away: reference minus value; of the whole action `squared_change`."""
    if values.shape[1] == 1:
        return scorer.reference[0] - values[:, 0]
    return squared_change(scorer, values)


def squared_change(scorer: Scorer, values: Float[np.ndarray, "B D"]) -> Float[np.ndarray, " B"]:
    """Mean over dimensions of ((value - reference) / scale)^2; of the whole action, scale is each dimension's range."""
    return (((values - scorer.reference) / scorer.scale) ** 2).mean(axis=1)


def described(scorer: Scorer, found: Sequence[Feature]) -> dict[str, Setting]:
    """What a caption says besides the settings."""
    notes: dict[str, Setting] = {"features": len(found)}
    if len(scorer.reference) == 1:
        notes["value"] = float(scorer.reference[0])
    return notes
