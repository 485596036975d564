"""A word with the numbers and the rule that made it. Pure; rules in docs/verdicts.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float

from analysis.evidence.measurements import Measurements
from analysis.metrics.bootstrap import Estimate, bootstrap_mean
from analysis.metrics.significance import sign_flip

ALPHA = 0.05
LEAST_EPISODES = 6  # with fewer no sign-flip test can reach p < 0.05
LEAST_STEPS = 8  # of a verdict about one episode, whose steps resemble each other

Unit = Literal["episode", "step"]


class Word(StrEnum):
    YES = "yes"
    NO = "no"
    PARTLY = "partly"
    UNCLEAR = "cannot tell"
    TOO_FEW = "too few"
    DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True)
class Number:
    """One measured quantity behind a verdict."""

    label: str
    estimate: Estimate
    unit: str  # of the estimate: "bits", "of the action range", "share of attention" ...


@dataclass(frozen=True)
class Verdict:
    question: str
    word: Word
    says: str  # the word in full: "used", "decorative", "above chance" ...
    because: str  # one sentence with the numbers
    rule: str  # what would have made it otherwise
    effect: Number | None  # that decided
    p: float  # sign-flip test of the effect against 0; nan: not tested
    numbers: tuple[Number, ...]  # everything else that was looked at
    unit: Unit  # what n counts
    steps: int  # measured in all


@dataclass(frozen=True)
class Sample:
    """Values of measurements in the unit that verdicts count: episodes, or the steps of one."""

    measured: Measurements
    unit: Unit

    @classmethod
    def of(cls, measured: Measurements) -> Sample:
        return cls(measured, "step" if len(measured.episodes) == 1 else "episode")

    @property
    def least(self) -> int:
        """Units below which no verdict is given."""
        return LEAST_STEPS if self.unit == "step" else LEAST_EPISODES

    def values(self, name: str) -> Float[np.ndarray, " n"]:
        """One value a unit; nan where it was not measured."""
        return self.measured.per_step(name) if self.unit == "step" else self.measured.per_episode(name)

    def mean_of(self, names: Sequence[str]) -> Float[np.ndarray, " n"]:
        """The mean of several measurements in each unit, over those that it has."""
        return mean_over([self.values(name) for name in names])

    def number(self, label: str, values: Float[np.ndarray, " n"], unit: str) -> Number:
        return Number(label, bootstrap_mean(values), unit)

    def test(self, values: Float[np.ndarray, " n"]) -> float:
        return sign_flip(values)

    def too_few(self, values: Float[np.ndarray, " n"]) -> bool:
        return int((~np.isnan(values)).sum()) < self.least

    def count(self, n: int) -> str:
        return f"{n} {self.unit}{'' if n == 1 else 's'}"


def mean_over(values: Sequence[Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
    """The mean of several measurements in each unit, over those that are known there; nan where none is."""
    table = np.array(values)
    known = ~np.isnan(table)
    total, counts = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)


def said(number: Number) -> str:
    """An estimate in words: value, interval, n."""
    held, unit = number.estimate, f" {number.unit}" if number.unit else ""
    if np.isnan(held.value):
        return "not measured"
    if not held.has_interval:
        return f"{rounded(held.value)}{unit} (n = {held.n}: too few for an interval)"
    low, high = rounded(held.low), rounded(held.high)
    return f"{rounded(held.value)}{unit} ({100 * held.level:.0f} % interval {low} to {high}, n = {held.n})"


def rounded(value: float) -> str:
    """Three digits; never -0."""
    return f"{value + 0.0:.3g}" if abs(value) >= 5e-5 or value == 0 else ("< 0.0001" if value > 0 else "> -0.0001")


def not_given(question: str, why: str, rule: str, sample: Sample) -> Verdict:
    """The verdict of a question that was not or cannot be asked of this policy."""
    steps = len(sample.measured.steps)
    says = "not measured" if why.endswith("was not measured.") else "does not apply"
    return Verdict(question, Word.DOES_NOT_APPLY, says, why, rule, None, float("nan"), (), sample.unit, steps)


def too_few(question: str, effect: Number, rule: str, numbers: tuple[Number, ...], sample: Sample) -> Verdict:
    n = effect.estimate.n
    because = f"{sample.count(n)} measured; this verdict needs {sample.least} or more."
    steps = len(sample.measured.steps)
    says = f"too few {sample.unit}s"
    return Verdict(question, Word.TOO_FEW, says, because, rule, effect, float("nan"), numbers, sample.unit, steps)
