"""How often 95 % intervals of a mean hold it, by simulation: ours, and others that could be used instead.

Draws are those of tests/analysis/metrics/test_simulation.py: normal; zero in half of the episodes (mixed); exponential
(skewed). Prints the share of runs whose interval holds the mean, and the median width. "studentised" is the bootstrap
of t = (mean - true mean) / standard error; "student's t" is no bootstrap.

    python benchmarks/intervals.py [--runs 2000]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.metrics.bootstrap import Kind, bootstrap_mean
from tests.analysis.metrics.test_simulation import draws

MEAN, RESAMPLES, TAILS = 0.3, 1000, (0.025, 0.975)
CASES = [(kind, n) for kind in ("normal", "mixed", "skewed") for n in (8, 12, 24)]
Interval = Callable[[Float[np.ndarray, " n"], int], tuple[float, float]]


def ours(kind: Kind, values: Float[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    found = bootstrap_mean(values, kind=kind, resamples=RESAMPLES, seed=seed)
    return found.low, found.high


def studentised(values: Float[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    n, random = len(values), np.random.default_rng(seed)
    drawn = values[random.integers(0, n, (RESAMPLES, n))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    t = (drawn.mean(axis=1) - values.mean())[errors > 0] / errors[errors > 0]
    low, high = np.quantile(t, TAILS) if len(t) else (0.0, 0.0)
    error = values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() - high * error), float(values.mean() - low * error)


def students_t(values: Float[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    around = stats.t.ppf(TAILS[1], len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - around), float(values.mean() + around)


INTERVALS: Mapping[str, Interval] = {
    "expanded percentile": partial(ours, "expanded percentile"),
    "percentile": partial(ours, "percentile"),
    "bca": partial(ours, "bca"),
    "studentised": studentised,
    "student's t": students_t,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    for kind, n in CASES:
        random = np.random.default_rng(20_260)
        samples = [draws(kind, n, MEAN, random) for _ in range(runs)]
        print(f"{kind}, n = {n}")
        for name, interval in INTERVALS.items():
            ends = np.array([interval(values, seed) for seed, values in enumerate(samples)])
            held = ((ends[:, 0] <= MEAN) & (ends[:, 1] >= MEAN)).mean()
            print(f"  {name:20} {held:.3f}   width {np.median(ends[:, 1] - ends[:, 0]):.2f}", flush=True)


if __name__ == "__main__":
    main()
