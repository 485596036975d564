"""Many single results as figures, each with its n and a 95 % interval. Definitions in docs/evaluate.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.metrics.bootstrap import bootstrap_mean
from analysis.metrics.intervals import wilson
from analysis.metrics.paired import mcnemar_exact
from analysis.metrics.significance import corrected, sign_flip

JUDGED = ("said", "object", "receptacle", "direction", "nothing_invented")
OUTCOMES = ("success", "grasped", "wrong")
TITLES = {
    "said": "rationale: all parts said", "object": "rationale: right object",
    "receptacle": "rationale: right receptacle", "direction": "rationale: right direction",
    "nothing_invented": "rationale: no object that is not there", "success": "success",
    "grasped": "grasped the right object", "wrong": "took a wrong object",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A share of n trials, or a mean over n episodes."""

    name: str
    value: float
    low: float
    high: float
    n: int
    unit: str = ""  # of a mean
    successes: int | None = None  # of a share

    @property
    def text(self) -> str:
        if self.successes is not None:
            return f"{self.successes}/{self.n} ({self.low:.2f}-{self.high:.2f})"
        unit = f" {self.unit}" if self.unit else ""
        interval = f"{self.low:.4g}-{self.high:.4g}, " if np.isfinite(self.low) else "no interval, "
        return f"{self.value:.4g}{unit} ({interval}n = {self.n} episodes)"


@dataclass(frozen=True)
class Test:
    """A paired test of two policies on the same trials."""

    name: str
    first: float
    second: float
    p: float
    n: int
    how: str
    corrected: float | None = None  # Holm, over the dimensions of the action


def open_loop(results: Mapping[str, list[dict[str, Any]]], names: Sequence[str], units: Sequence[str]) -> list[Figure]:
    """``results``: episode -> its step scores."""
    steps = [step for found in results.values() for step in found]
    if not steps:
        return []
    out = []
    by_episode = _mean_errors(results)
    for column, (name, unit) in enumerate(zip(names, units, strict=True)):
        out.append(_mean(f"action error, {name}", by_episode[:, column], unit))
    if total := sum(step["tokens"] for step in steps):
        out.append(_share("action tokens right", sum(step["tokens_right"] for step in steps), total))
    for key in JUDGED:
        told = [step["judged"][key] for step in steps if step["judged"].get(key) is not None]
        out += [_share(TITLES[key], sum(told), len(told))] if told else []
    looked = [[step["attention"] for step in found if step["attention"] is not None] for found in results.values()]
    means = np.array([float(np.mean(each)) for each in looked if each])
    if len(means):
        out.append(_mean("attention on the named things / their area", means, ""))
    return out


def closed_loop(rollouts: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Outcomes of all rollouts, then success by task."""
    if not rollouts:
        return []
    out = [_share(TITLES[key], sum(each[key] for each in rollouts), len(rollouts)) for key in OUTCOMES]
    for task in sorted({each["task"] for each in rollouts}):
        own = [each["success"] for each in rollouts if each["task"] == task]
        out.append(_share(f"success: {task}", sum(own), len(own)))
    return out


def compare_rollouts(first: Mapping[str, Mapping[str, Any]], second: Mapping[str, Mapping[str, Any]]) -> list[Test]:
    """McNemar's exact test of each outcome, over the seeds that both have."""
    shared = sorted(first.keys() & second.keys())
    out = []
    for key in OUTCOMES if shared else ():
        pairs = [(bool(first[seed][key]), bool(second[seed][key])) for seed in shared]
        only = pairs.count((True, False)), pairs.count((False, True))
        one, other = (float(np.mean([pair[place] for pair in pairs])) for place in (0, 1))
        how = f"McNemar, exact; only the first {only[0]}, only the second {only[1]}"
        out.append(Test(TITLES[key], one, other, mcnemar_exact(*only), len(shared), how))
    return out


def compare_errors(
    first: Mapping[str, list[dict[str, Any]]], second: Mapping[str, list[dict[str, Any]]], names: Sequence[str]
) -> list[Test]:
    """Paired sign-flip test of every dimension's error, over the episodes that both have; Holm's correction."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return []
    one, other = (_mean_errors({key: found[key] for key in shared}) for found in (first, second))
    p = [sign_flip(other[:, column] - one[:, column]) for column in range(len(names))]
    adjusted = corrected(p)
    return [
        Test(f"action error, {name}", float(one[:, column].mean()), float(other[:, column].mean()), p[column],
             len(shared), "paired sign-flip", adjusted[column])
        for column, name in enumerate(names)
    ]  # fmt: skip


def as_table(figures: Mapping[str, Sequence[Figure]], tests: Sequence[Test]) -> str:
    """Markdown: one column a policy, then the tests."""
    rows = list(dict.fromkeys(figure.name for found in figures.values() for figure in found))
    lines = ["| | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    for name in rows:
        cells = [next((each.text for each in found if each.name == name), "-") for found in figures.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if tests:
        lines += ["", "| paired | first | second | n | p | p, Holm | test |", "|---|---|---|---|---|---|---|"]
        for test in tests:
            holm = f"{test.corrected:.3g}" if test.corrected is not None else "-"
            cells = [test.name, f"{test.first:.4g}", f"{test.second:.4g}", str(test.n), f"{test.p:.3g}", holm, test.how]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_errors(results: Mapping[str, list[dict[str, Any]]]) -> np.ndarray:
    """One row an episode: [episodes, D]."""
    return np.stack([np.mean([step["error"] for step in found], axis=0) for found in results.values() if found])


def _share(name: str, successes: int, n: int) -> Figure:
    low, high = wilson(successes, n)
    return Figure(name, successes / n, low, high, n, successes=int(successes))


def _mean(name: str, values: np.ndarray, unit: str) -> Figure:
    found = bootstrap_mean(np.asarray(values, dtype=np.float64))
    return Figure(name, found.value, found.low, found.high, found.n, unit)
