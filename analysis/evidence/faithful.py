"""Whether a map may keep its caption: the badge of a map on a policy. Pure; rules in docs/verdicts.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.evidence.measurements import Measurements
from analysis.evidence.verdict import ALPHA, Number, Sample, said

LIKE = 0.5  # rank agreement with the map of new weights from which on a map counts as the same

RULE = (
    "passed: hiding the map's highest patches first moves what it is about (the action, or words) more, and showing "
    f"them first restores it sooner, than random orders do (both intervals above 0, sign-flip p < {ALPHA}), and a copy "
    f"with new weights gives another map (interval of the rank agreement below {LIKE}; left out where no copy could be "
    "made). failed: one of these does not hold. not tested: too few steps or episodes."
)


class Badge(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool | None  # None: not tested
    number: Number
    p: float  # nan: no test


@dataclass(frozen=True)
class Faithfulness:
    """What was tested of a map."""

    badge: Badge
    map: str  # as `AskedMap.text` names it
    because: str  # what a tooltip says, with n
    rule: str
    checks: tuple[Check, ...]
    others: tuple[Number, ...]  # ISS in the same test, agreement with it
    unit: str  # what n counts
    steps: int


def faithful(measured: Measurements, map: str) -> Faithfulness:
    """``measured``: with the faithfulness probe of ``map``, whose name is given."""
    sample = Sample.of(measured)
    gains = {name: sample.values(f"{name} gain") for name in ("deletion", "insertion")}
    checks = [_gain(sample, name, values) for name, values in gains.items()]
    checks.append(_randomised(sample))
    others = tuple(
        sample.number(label, sample.values(name), "")
        for name, label in (
            ("iss deletion gain", "deletion gain of ISS"),
            ("iss insertion gain", "insertion gain of ISS"),
            ("agreement spearman", "rank agreement with ISS (Spearman)"),
            ("agreement kendall", "rank agreement with ISS (Kendall)"),
        )
    )
    tested = [check for check in checks[:2] if check.passed is not None]
    if len(tested) < 2:
        badge = Badge.NOT_TESTED
    else:
        badge = Badge.FAILED if any(check.passed is False for check in checks) else Badge.PASSED
    steps = len(measured.steps)
    because = _because(badge, sample, checks, steps, measured.not_measured.get("faithfulness"))
    return Faithfulness(badge, map, because, RULE, tuple(checks), others, sample.unit, steps)


def _gain(sample: Sample, name: str, values: np.ndarray) -> Check:
    number = sample.number(f"{name} gain over random", values, "")
    if sample.too_few(values):
        return Check(name, None, number, float("nan"))
    p = sample.test(values)
    return Check(name, bool(number.estimate.low > 0 and p < ALPHA), number, p)


def _randomised(sample: Sample) -> Check:
    values = sample.values("randomised spearman")
    number = sample.number("rank agreement with new weights", values, "")
    passed = None if sample.too_few(values) else bool(number.estimate.high < LIKE)
    return Check("new weights", passed, number, float("nan"))


def _because(badge: Badge, sample: Sample, checks: list[Check], steps: int, refused: str | None) -> str:
    if badge is Badge.NOT_TESTED:
        fewest, most = sorted(checks[:2], key=lambda check: check.number.estimate.n)
        few = f"{sample.count(fewest.number.estimate.n)} measured, {sample.least} or more are needed"
        if not fewest.number.estimate.n:
            few = f"no {fewest.name} was measured" if most.number.estimate.n else "nothing was measured"
        return f"Not tested: {refused or few}."
    words = {True: "passed", False: "failed", None: "not tested"}
    tried = "; ".join(
        f"{check.name} {words[check.passed]}" + (f" ({said(check.number)})" if check.passed is not None else "")
        for check in checks
    )
    moved = max(abs(check.number.estimate.value) for check in checks[:2])
    still = " Hiding the image does not move the action, so no map could pass." if moved < 1e-6 else ""
    where = (
        f"{sample.count(len(sample.measured.episodes))}, {steps} steps"
        if sample.unit == "episode"
        else f"{steps} steps"
    )
    return f"Tested on {where}: {tried}.{still}"
