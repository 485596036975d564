"""What an intervention did: the action before and after in its units, odds, words. Formulas in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from analysis.evidence.effect import change
from analysis.interventions.frames import ChangedFrame
from analysis.metrics.divergence import jensen_shannon
from analysis.prediction_structure import finite
from models.types import ActionDistribution, CheckpointSpec, Part, Prediction

CONTINUOUS = (
    "This policy's actions are continuous: it tells no distribution, so there is no Jensen-Shannon divergence. "
    "How far the action moves is told in its units and as a share of its range."
)
SAME_NOISE = " Denoising starts from the same noise both times."
NO_ACTION = "This model predicts no actions: only its words can change."
LATER = "The action is written before the words here, so changed words cannot change it."


@dataclass(frozen=True)
class Divergence:
    """Between the distributions of one action token (or one dimension that it says)."""

    step: int  # of the chunk
    name: str
    bits: float  # Jensen-Shannon divergence, 0 to 1
    before: ActionDistribution
    after: ActionDistribution


@dataclass(frozen=True)
class Effect:
    """``after`` is the answer to the changed question."""

    before: Prediction
    after: Prediction
    edits: tuple[str, ...]  # what was changed, one sentence each
    change: Float[np.ndarray, "T D"]  # after - before, robot units, of the chunk steps that both have
    divergences: tuple[Divergence, ...]
    size: float  # mean |change| / range of the dimension, 0 to 1; nan: no action, or no range is known
    note: str  # what a person should know
    frames: tuple[ChangedFrame, ...] = ()  # as the policy saw them, where a change touched them

    @property
    def mean_bits(self) -> float:
        """Mean over action tokens; nan where there are no distributions."""
        return float(np.mean([each.bits for each in self.divergences])) if self.divergences else float("nan")

    @property
    def distance(self) -> Float[np.ndarray, " D"]:
        """Mean |change| over the steps of the chunk, in the unit of each dimension; nan where no step is shared."""
        return np.abs(self.change).mean(axis=0) if len(self.change) else np.full(self.change.shape[1], np.nan)

    @property
    def text_changed(self) -> bool:
        return self.before.text != self.after.text


def effect(before: Prediction, after: Prediction, edits: tuple[str, ...], spec: CheckpointSpec, forced: bool) -> Effect:
    """``spec``: of the policy. ``forced``: a rationale was forced on it."""
    steps = min(len(before.actions), len(after.actions))
    found = {(entry.step, entry.name): entry for entry in after.action_distribution}
    divergences = tuple(
        Divergence(each.step, each.name, _bits(each, other), each, other)
        for each in before.action_distribution
        if (other := found.get((each.step, each.name))) is not None and other.values.shape == each.values.shape
    )
    size = change(before, after, spec.action_space).action
    moved = after.actions[:steps] - before.actions[:steps]
    return Effect(before, after, edits, moved, divergences, size, _note(before, after, spec, forced))


def effect_values(effect: Effect) -> dict[str, Any]:
    """An effect as JSON values; a number that is not finite becomes None."""
    before, after = effect.before, effect.after
    return {
        "edits": list(effect.edits),
        "actions": [
            {
                "name": name,
                "unit": unit,
                "before": _finite(before.actions[:, column]),
                "after": _finite(after.actions[:, column]),
                "change": _finite(effect.change[:, column]),
                "mean_absolute_change": finite(effect.distance[column]),
            }
            for column, (name, unit) in enumerate(zip(before.action_names, before.action_units, strict=True))
        ],
        "size": finite(effect.size),
        "jensen_shannon_bits": [
            {"step": each.step, "name": each.name, "bits": finite(each.bits)} for each in effect.divergences
        ],
        "mean_jensen_shannon_bits": finite(effect.mean_bits),
        "text_before": before.text,
        "text_after": after.text,
        "note": effect.note,
    }


def _bits(one: ActionDistribution, other: ActionDistribution) -> float:
    return float(jensen_shannon(one.probabilities, other.probabilities))


def _note(before: Prediction, after: Prediction, spec: CheckpointSpec, forced: bool) -> str:
    if spec.action_space is None:
        return NO_ACTION
    if len(before.actions) != len(after.actions):
        missing = "before" if len(before.actions) < len(after.actions) else "after"
        return f"The policy wrote no whole action {missing} the change."
    if forced and _acts_first(after):
        return LATER
    if before.action_distribution:
        return ""
    return CONTINUOUS + SAME_NOISE if spec.denoising_steps else CONTINUOUS


def _acts_first(prediction: Prediction) -> bool:
    parts = [span.part for span in prediction.layout.spans]
    return Part.ACTION in parts and Part.RATIONALE in parts and parts.index(Part.ACTION) < parts.index(Part.RATIONALE)


def _finite(values: Float[np.ndarray, " n"]) -> list[float | None]:
    return [finite(value) for value in np.asarray(values, np.float64).tolist()]
