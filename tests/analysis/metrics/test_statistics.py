"""Intervals, tests, agreement and curves against numbers worked out by hand or by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.metrics.bootstrap import LEAST, bootstrap_mean
from analysis.metrics.curves import area_under, highest_first, steps_of
from analysis.metrics.divergence import jensen_shannon
from analysis.metrics.rank_agreement import kendall, spearman
from analysis.metrics.representation import linear_cka
from analysis.metrics.significance import corrected, fisher_exact, sign_flip


def test_jensen_shannon_in_bits() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [2.0, 2.0]])
    q = np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5], [1.0, 1.0]])
    # second row: middle (3/4, 1/4); (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2
    half = (np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2
    assert jensen_shannon(p, q) == pytest.approx([1.0, half, 0.0, 0.0])


def test_an_interval_comes_back_for_the_same_seed_and_not_from_too_few() -> None:
    values = np.random.default_rng(1).normal(2, 1, 30)
    one, two = bootstrap_mean(values, seed=3), bootstrap_mean(values, seed=3)
    assert one == two
    assert one.value == pytest.approx(values.mean())
    assert one.low < one.value < one.high
    assert one.excludes_zero
    few = bootstrap_mean(values[: LEAST - 1])
    assert few.n == LEAST - 1
    assert not few.has_interval
    assert not few.excludes_zero
    assert bootstrap_mean(np.array([np.nan, np.nan])).n == 0


def test_intervals_agree_with_scipy() -> None:
    values = np.random.default_rng(2).exponential(1, 25)
    for ours, theirs in (("percentile", "percentile"), ("bca", "BCa")):
        got = bootstrap_mean(values, kind=ours, resamples=40_000)
        want = stats.bootstrap((values,), np.mean, method=theirs, n_resamples=40_000, rng=5).confidence_interval
        assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.02)


def test_the_expanded_interval_of_normal_values_is_about_students() -> None:
    values = np.random.default_rng(3).normal(0, 1, 12)
    got = bootstrap_mean(values, resamples=40_000)
    low, high = stats.t.interval(0.95, 11, values.mean(), values.std(ddof=1) / np.sqrt(12))
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.12)


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    for kind in ("expanded percentile", "percentile", "bca"):
        got = bootstrap_mean(np.zeros(8), kind=kind)
        assert (got.low, got.high, got.excludes_zero) == (0, 0, False)


def test_sign_flips_by_hand() -> None:
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)  # only +++ and --- reach 6
    assert sign_flip(np.array([1.0, 2.0, -3.0])) == 1.0
    assert sign_flip(np.zeros(9)) == 1.0
    assert np.isnan(sign_flip(np.array([np.nan])))
    assert sign_flip(np.full(10, 0.1)) == pytest.approx(2 / 1024)  # 0.1 ten times is not quite 1 in floating point


def test_many_sign_flips_agree_with_scipy() -> None:
    values = np.random.default_rng(4).normal(0.4, 1, 20)
    want = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(5)
    ).pvalue
    assert sign_flip(values) == pytest.approx(want, abs=0.01)


def test_corrections_by_hand() -> None:
    p = (0.01, 0.04, float("nan"), 0.03)
    assert corrected(p, "holm") == pytest.approx((0.03, 0.06, np.nan, 0.06), nan_ok=True)
    assert corrected(p, "benjamini-hochberg") == pytest.approx((0.03, 0.04, np.nan, 0.04), nan_ok=True)
    assert corrected(p, "none")[0] == 0.01
    assert corrected(()) == ()
    several = np.random.default_rng(6).uniform(0, 0.2, 12)
    assert corrected(several.tolist(), "benjamini-hochberg") == pytest.approx(stats.false_discovery_control(several))


def test_fishers_test_finds_the_papers_gain_too_small() -> None:
    assert fisher_exact((40, 84), (41, 96)) == pytest.approx(0.55, abs=0.01)
    assert fisher_exact((3, 3), (0, 3)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="4 successes"):
        fisher_exact((4, 3), (0, 3))


def test_rank_agreement_by_hand() -> None:
    up = np.array([[1.0, 2.0], [3.0, 4.0]])
    swapped = np.array([[1.0, 2.0], [4.0, 3.0]])  # five pairs agree, one does not
    assert kendall(up, swapped) == pytest.approx(4 / 6)
    assert spearman(up, swapped) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert spearman(up, -up) == pytest.approx(-1)
    assert np.isnan(kendall(up, np.ones((2, 2))))


def test_areas_and_orders() -> None:
    shares = np.array([0.0, 0.5, 1.0])
    assert area_under(shares, np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])) == pytest.approx([0.75, 0.25])
    with pytest.raises(ValueError, match="rise from 0 to 1"):
        area_under(np.array([0.0, 0.5]), np.zeros(2))
    assert highest_first(np.array([[1.0, 3.0], [0.0, 2.0]])).tolist() == [1, 3, 0, 2]
    assert highest_first(np.zeros((2, 2)), seed=1).tolist() != highest_first(np.zeros((2, 2)), seed=2).tolist()
    assert steps_of(64, 8).tolist() == list(range(0, 65, 8))
    assert steps_of(4, 8).tolist() == [0, 1, 2, 3, 4]


def test_linear_cka() -> None:
    random = np.random.default_rng(7)
    x = random.normal(size=(50, 4))
    turned, _ = np.linalg.qr(random.normal(size=(4, 4)))
    assert linear_cka(x, 3 * x @ turned + 1) == pytest.approx(1.0)
    # columns (1, -1, 0, 0) and (0, 0, 1, -1): nothing in common
    assert linear_cka(np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])) == 0
    assert np.isnan(linear_cka(np.ones((3, 2)), x[:3]))
