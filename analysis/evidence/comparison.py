"""A base and a tuned policy over the same steps: every metric of each, paired differences, tests corrected for many."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from analysis.evidence.measurements import MeasuredStep, Measurements, Place
from analysis.evidence.verdict import LEAST_EPISODES
from analysis.metrics.bootstrap import Estimate, bootstrap_mean
from analysis.metrics.significance import Correction, corrected, sign_flip
from models.errors import UserError

CHANGE = "change"  # stands for the unit of changes, which two policies may not share
CALLED = 0.01  # corrected p below which a difference is called one: many comparisons are made
SHOWN = 10  # steps that differ most


@dataclass(frozen=True)
class Metric:
    """A measurement that is compared."""

    name: str  # in `Measurements`
    title: str
    unit: str
    means: str  # what a person should know to read it


METRICS = (
    Metric("action error", "Action error", "of the range", "mean |predicted - recorded| / (high - low)"),
    Metric("action entropy", "Action entropy", "", "of the odds of the bins: 0 certain, 1 even"),
    Metric("attention in object", "Attention in named things", "", "share inside - share of the area; 0 is chance"),
    Metric("attention hit", "Attention pointing game", "", "hits - chance"),
    Metric("attention nmr", "Attention NMR@10 %", "", "mass of the top patches outside of named things and robot"),
    Metric("attention entropy", "Attention entropy", "", "over the patches: 0 one patch, 1 even"),
    Metric("sink share", "Attention on the sink", "", "share on <bos> and other special tokens of the prompt"),
    Metric("image share", "Attention on the image", "", "share"),
    Metric("instruction share", "Attention on the instruction", "", "share"),
    Metric("significance in object", "ISS in named things", "", "share inside - share of the area; 0 is chance"),
    Metric("significance nmr", "ISS NMR@10 %", "", "mass of the top patches outside of named things and robot"),
    Metric("instruction other object", "Other object named", CHANGE, "how far the action moves"),
    Metric("instruction blank", "Instruction blanked", CHANGE, "how far the action moves"),
    Metric("instruction paraphrase", "Instruction paraphrased", CHANGE, "how far the action moves"),
    Metric("route image", "Action cut off from the image", CHANGE, "how far the action moves with that attention cut"),
    Metric("route instruction", "Action cut off from the instruction", CHANGE, "how far the action moves"),
    Metric("route state", "Action cut off from the state", CHANGE, "how far the action moves"),
    Metric("route rationale", "Action cut off from the rationale", CHANGE, "how far the action moves"),
    Metric("deletion gain", "Deletion gain of attention", CHANGE, "over random orders; above 0 speaks for the map"),
    Metric("insertion gain", "Insertion gain of attention", CHANGE, "over random orders; above 0 speaks for the map"),
    Metric("lens decided", "Layer of the decision", "layer", "first from which the likeliest bins stay"),
)


@dataclass(frozen=True)
class Row:
    """One metric of both policies; differences are second minus first."""

    metric: Metric
    first: Estimate
    second: Estimate
    difference: Estimate
    p: float  # sign-flip test of the differences; nan: not tested
    corrected: float  # for the number of metrics that were tested

    @property
    def says(self) -> str:
        """In words; a difference is only called one if its corrected p and its interval both say so."""
        if self.difference.n < LEAST_EPISODES:
            return "too few episodes"
        if self.corrected < CALLED and self.difference.excludes_zero:
            return "higher" if self.difference.value > 0 else "lower"
        return "no difference shown"


@dataclass(frozen=True)
class DifferingStep:
    place: Place
    distance: float  # mean over dimensions of |difference of the actions| / (high - low)


@dataclass(frozen=True)
class Comparison:
    first: Measurements
    second: Measurements
    rows: tuple[Row, ...]
    correction: Correction
    steps: tuple[DifferingStep, ...]  # where the two differ most, the furthest first
    paired: int  # steps that both were measured on
    episodes: int
    acted: int  # of these, where the actions of both are known

    @property
    def different(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.says in ("higher", "lower"))

    @property
    def tested(self) -> int:
        """Metrics that have enough episodes for a test: what the correction counts."""
        return sum(not np.isnan(row.p) for row in self.rows)

    @property
    def found(self) -> str:
        """What the metrics say, as one sentence."""
        if self.different:
            return f"Different in the second: {', '.join(f'{row.metric.title} {row.says}' for row in self.different)}."
        if self.tested:
            return "No metric shows a difference between the two."
        if not self.rows:
            return "No metric was measured of both."
        most = max(row.difference.n for row in self.rows)
        return f"Too few episodes to say whether the two differ: {most} measured, {LEAST_EPISODES} or more are needed."

    @property
    def tests(self) -> str:
        """How p was made, as part of a sentence."""
        if not self.tested:
            return f"p: not tested, which takes {LEAST_EPISODES} episodes or more"
        metrics = f"{self.tested} metric{'' if self.tested == 1 else 's'}"
        return f"p: paired sign-flip test, corrected by {self.correction} for {metrics}"

    @property
    def no_step(self) -> str:
        """Why there is none where the two differ, as one sentence; "" where there are some."""
        if self.steps:
            return ""
        return "The actions are the same at every measured step." if self.acted else "The action was not measured."


def compare(first: Measurements, second: Measurements, correction: Correction = "holm") -> Comparison:
    """Pairs the steps that both have, averages each episode, and compares episodes.

    Raises UserError where no step is shared.
    """
    left, right = _paired(first, second)
    if not left.steps:
        raise UserError(
            f"{first.name} and {second.name} were measured on no step in common; measure both on the same episodes"
        )
    rows = [row for metric in METRICS if (row := _row(metric, left, right)) is not None]
    many = corrected([row.p for row in rows], correction)
    rows = [replace(row, corrected=value) for row, value in zip(rows, many, strict=True)]
    steps, acted = _differing(left, right)
    return Comparison(first, second, tuple(rows), correction, steps, len(left.steps), len(left.episodes), acted)


def _paired(first: Measurements, second: Measurements) -> tuple[Measurements, Measurements]:
    """Both with the steps that both have, in the same order."""
    left = {(step.place.digest, step.place.step): step for step in first.steps}
    right = {(step.place.digest, step.place.step): step for step in second.steps}
    shared = [key for key in left if key in right]
    return replace(first, steps=tuple(left[k] for k in shared)), replace(second, steps=tuple(right[k] for k in shared))


def _row(metric: Metric, left: Measurements, right: Measurements) -> Row | None:
    """None where one of the two does not have the metric at all, or not in the same unit."""
    one, two = _both(metric.name, left, right)
    changes = metric.unit == CHANGE
    if np.isnan(one).all() or (changes and left.unit != right.unit):
        return None
    metric = replace(metric, unit=left.unit) if changes else metric
    apart = two - one
    few = int((~np.isnan(apart)).sum()) < LEAST_EPISODES
    p = float("nan") if few else sign_flip(apart)
    return Row(metric, bootstrap_mean(one), bootstrap_mean(two), bootstrap_mean(apart), p, float("nan"))


def _both(
    name: str, left: Measurements, right: Measurements
) -> tuple[Float[np.ndarray, " E"], Float[np.ndarray, " E"]]:
    """Episode means over the steps on which both have the value."""
    missing = np.isnan(left.per_step(name)) | np.isnan(right.per_step(name))
    one, two = (
        replace(
            each,
            steps=tuple(_without(step, name) if gone else step for step, gone in zip(each.steps, missing, strict=True)),
        )
        for each in (left, right)
    )
    return one.per_episode(name), two.per_episode(name)


def _without(step: MeasuredStep, name: str) -> MeasuredStep:
    return replace(step, values={**step.values, name: float("nan")})


def _differing(left: Measurements, right: Measurements) -> tuple[tuple[DifferingStep, ...], int]:
    """The steps whose actions differ most, and at how many the actions are known."""
    kept = {"action error", "action entropy"}
    names = [n for n in left.names() if n.startswith("action ") and n not in kept and n in right.names()]
    if not names:
        return (), 0
    apart = np.array([np.abs(left.per_step(name) - right.per_step(name)) for name in names])
    distance = np.where(np.isnan(apart).all(axis=0), np.nan, np.nanmean(np.nan_to_num(apart), axis=0))
    order = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")[:SHOWN]
    furthest = tuple(
        DifferingStep(left.steps[index].place, float(distance[index])) for index in order if distance[index] > 0
    )
    return furthest, int((~np.isnan(distance)).sum())
