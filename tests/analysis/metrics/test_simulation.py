"""Intervals and tests by simulation with a fixed seed: what they promise is what they keep."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.metrics.bootstrap import bootstrap_mean, resampled_means
from analysis.metrics.significance import corrected, sign_flip

RUNS = 400
CLOSE = 2.6  # standard errors of a share over RUNS runs: 1 in 100 simulations would miss by more


def draws(kind: str, n: int, mean: float, random: np.random.Generator) -> np.ndarray:
    """Episode means as they come: normal, skewed, or zero in half of the episodes."""
    if kind == "normal":
        return random.normal(mean, 1.0, n)
    if kind == "skewed":
        return random.exponential(1.0, n) - 1.0 + mean
    return random.normal(0.0, 1.0, n) * (random.random(n) < 0.5) + mean


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n", "least"),
    # few episodes of which half are zero: about 0.91 (n = 12) and 0.92 (n = 24), as docs/metrics.md says
    [("normal", 8, 0.92), ("normal", 24, 0.92), ("mixed", 12, 0.88), ("mixed", 24, 0.90), ("skewed", 24, 0.89)],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(kind: str, n: int, least: float) -> None:
    random = np.random.default_rng(20_260)
    held = 0
    for run in range(RUNS):
        found = bootstrap_mean(draws(kind, n, 0.3, random), resamples=1000, seed=run)
        held += found.low <= 0.3 <= found.high
    error = np.sqrt(0.95 * 0.05 / RUNS)
    assert held / RUNS <= 0.95 + CLOSE * error  # not so wide that nothing could ever be said
    assert held / RUNS >= least


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("normal", 6), ("normal", 24), ("mixed", 10)])
def test_the_permutation_test_raises_no_more_false_alarms_than_it_says(kind: str, n: int) -> None:
    random = np.random.default_rng(7)
    runs = 5 * RUNS
    p = np.array([sign_flip(draws(kind, n, 0.0, random), flips=1000, seed=run) for run in range(runs)])
    assert (p < 0.05).mean() <= 0.05 + CLOSE * np.sqrt(0.05 * 0.95 / runs)
    assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.01  # small p are never too many


@pytest.mark.slow
def test_many_metrics_together_raise_no_more_false_alarms_than_one() -> None:
    random = np.random.default_rng(11)
    alarms = sum(
        min(corrected([sign_flip(random.normal(0, 1, 10), seed=run) for _ in range(10)])) < 0.05 for run in range(200)
    )
    assert alarms / 200 <= 0.05 + CLOSE * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
def test_a_difference_that_is_there_is_mostly_found() -> None:
    random = np.random.default_rng(13)
    found = sum(sign_flip(random.normal(1.0, 1.0, 24), flips=1000, seed=run) < 0.05 for run in range(100))
    assert found >= 95


def test_resampled_means_have_the_spread_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(0, 2, 40)
    means = resampled_means(values, 20_000, seed=1)
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.03)
