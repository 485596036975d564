"""Every coefficient stands in the picture, however far below chance people agree."""

from __future__ import annotations

import math

import pytest

from analysis.metrics.agreement_bootstrap import Coefficients, Estimated
from analysis.review.agreement import LabelAgreement
from app.figures_agreement import agreement_dots


def said(value: float, low: float = math.nan) -> LabelAgreement:
    one = Estimated(value, low, math.nan)
    both = Coefficients(4, 4, 8, one, one, one, one)
    return LabelAgreement("overall", ("accept", "reject"), both, both)


@pytest.mark.parametrize(
    ("labels", "least"),
    [([said(0.4)], -0.35), ([said(0.4), said(-1.0)], -1.0), ([said(0.1, -0.7)], -0.7), ([said(math.nan)], -0.35)],
)
def test_the_axis_reaches_what_is_drawn(labels: list[LabelAgreement], least: float) -> None:
    figure = agreement_dots(labels, [label.label for label in labels], scale=False)
    low, high = figure.layout.xaxis.range
    assert low <= least < low + 0.1 and high > 1
