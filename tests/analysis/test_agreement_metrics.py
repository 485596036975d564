"""Agreement coefficients against published examples and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import cohen_kappa_score

from analysis.metrics.agreement import (
    MISSING,
    WEIGHTINGS,
    cohen_kappa,
    confusion,
    counts_of,
    fleiss_kappa,
    gwet_ac,
    krippendorff_alpha,
    percent_agreement,
    weights_of,
)
from analysis.metrics.agreement_bootstrap import _alphas, coefficients

# Krippendorff, Content Analysis, 2nd ed., p. 230: four observers, twelve units; "." is missing
FOUR = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
# Fleiss 1971, table 1: 30 patients, six psychiatrists each, five diagnoses
FLEISS = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
# Gwet's "abstractors" (Handbook; cont3x3abstractors in irrCAC): two raters, 100 patients, three kinds of pregnancy
ABSTRACTORS = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])


@pytest.fixture
def four() -> np.ndarray:
    rows = [[MISSING if sign == "." else int(sign) - 1 for sign in line.split()] for line in FOUR.split("\n") if line]
    return np.array(rows)


@pytest.fixture
def abstractors() -> np.ndarray:
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(ABSTRACTORS[i, j])]
    return np.array(pairs).T


def test_krippendorffs_four_observers(four):
    counts = counts_of(four, 5)
    found = [krippendorff_alpha(counts, level) for level in ("nominal", "ordinal", "interval")]
    assert_allclose(found, [0.743, 0.815, 0.849], atol=5e-4)


def test_gwets_four_raters(four):
    """As printed for these data in Gwet's handbook and by his package irrCAC."""
    counts = counts_of(four, 5)
    assert percent_agreement(counts) == pytest.approx(0.81818, abs=1e-5)
    ac1, fleiss = gwet_ac(counts), fleiss_kappa(counts)
    assert (ac1.value, ac1.chance) == pytest.approx((0.77544, 0.19032), abs=1e-5)
    assert (fleiss.value, fleiss.chance) == pytest.approx((0.76117, 0.23872), abs=1e-5)


def test_fleiss_1971():
    counts = np.array([[int(sign) for sign in word] for word in FLEISS.split()])
    assert counts.sum(0).tolist() == [26, 26, 30, 55, 43]
    found = fleiss_kappa(counts)
    assert (found.value, found.observed, found.chance) == pytest.approx((0.430, 0.556, 0.220), abs=5e-4)


def test_gwets_abstractors(abstractors):
    assert cohen_kappa(*abstractors, np.eye(3)).value == pytest.approx(0.7964, abs=5e-5)
    assert gwet_ac(counts_of(abstractors, 3)).value == pytest.approx(0.8493, abs=5e-5)
    assert (confusion(*abstractors, 3) == ABSTRACTORS).all()


def test_ac2_worked_by_hand():
    """Two raters, three ordered categories, linear weights 1, 1/2, 0; ratings 00 01 12 22.

    Observed (1 + 1/2 + 1/2 + 1) / 4 = 3/4. Shares 3/8, 2/8, 3/8: sum of p(1 - p) = 15/64 + 12/64 + 15/64 = 42/64.
    Sum of the weights 3 + 4/2 = 5, chance 5 / 6 * 42/64 = 35/64; AC2 = (48 - 35) / (64 - 35) = 13/29.
    """
    counts = counts_of(np.array([[0, 0, 1, 2], [0, 1, 2, 2]]), 3)
    found = gwet_ac(counts, weights_of(3, "linear"))
    assert (found.observed, found.chance, found.value) == pytest.approx((3 / 4, 35 / 64, 13 / 29))


@pytest.mark.parametrize(("weighting", "name"), [("identity", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_cohens_kappa_is_that_of_scikit_learn_over_what_both_rated(weighting, name):
    first, second = np.random.default_rng(3).integers(0, 4, (2, 60))
    first[:5], second[3:9] = MISSING, MISSING
    both = (first != MISSING) & (second != MISSING)
    wanted = cohen_kappa_score(first[both], second[both], weights=name, labels=range(4))
    assert cohen_kappa(first, second, weights_of(4, weighting)).value == pytest.approx(wanted)


def test_weights_reach_from_one_to_none():
    for weighting in WEIGHTINGS:
        weights = weights_of(4, weighting)
        assert (np.diag(weights) == 1).all() and weights[0, 3] == 0 and (weights == weights.T).all()
    assert weights_of(3, "ordinal")[0].tolist() == pytest.approx([1, 2 / 3, 0])
    with pytest.raises(ValueError, match="expected one of identity"):
        weights_of(3, "cubic")


def test_where_nothing_is_defined():
    alone = counts_of(np.array([[0, 1, MISSING], [MISSING, MISSING, 1]]), 2)
    assert np.isnan(percent_agreement(alone)) and np.isnan(krippendorff_alpha(alone))
    alike = counts_of(np.zeros((2, 6), int), 2)
    assert percent_agreement(alike) == 1 and np.isnan(fleiss_kappa(alike).value) and gwet_ac(alike).value == 1
    nobody = coefficients(np.zeros((0, 3), int), weights_of(3, "identity"), ordinal=False)
    assert nobody.units == 0 and np.isnan(nobody.alpha.value)
    with pytest.raises(ValueError, match="there are 2 categories"):
        counts_of(np.array([[2]]), 2)


@pytest.mark.parametrize("ordinal", [False, True])
def test_the_alpha_of_draws_is_that_of_the_package(four, ordinal):
    """Drawing each unit once gives the package's alpha; drawing some twice, that of the units repeated."""
    counts = counts_of(four, 5)
    counts = counts[counts.sum(1) >= 2]
    drawn = np.stack([np.ones(len(counts)), np.arange(len(counts)) % 3])
    level = "ordinal" if ordinal else "nominal"
    repeated = counts.repeat(drawn[1].astype(int), axis=0)
    wanted = [krippendorff_alpha(counts, level), krippendorff_alpha(repeated, level)]
    assert_allclose(_alphas(drawn, counts, ordinal), wanted)


def test_intervals_hold_the_value_and_shrink_with_more_units(four):
    weights = weights_of(5, "identity")
    few, many = (coefficients(counts_of(np.tile(four, n), 5), weights, False, 400) for n in (1, 20))
    for name in ("percent", "fleiss", "alpha", "ac"):
        one, other = getattr(few, name), getattr(many, name)
        assert one.low < one.value < one.high and one.high - one.low > 3 * (other.high - other.low) > 0
    assert few == coefficients(counts_of(four, 5), weights, False, 400)  # drawn with a seed
