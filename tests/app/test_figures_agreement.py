"""Every coefficient stands in the picture, however far below chance people agree."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from analysis.metrics.agreement_bootstrap import Coefficients, Estimated
from analysis.review.agreement import DriftPoint, LabelAgreement
from app.figures_agreement import agreement_dots, drift_lines


def said(value: float, low: float = math.nan) -> LabelAgreement:
    one = Estimated(value, low, math.nan)
    both = Coefficients(4, 4, 8, one, one, one, one)
    return LabelAgreement("overall", ("accept", "reject"), both, both)


def test_legends_leave_the_titles_of_axes_alone() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    over_time = drift_lines([DriftPoint("ann", "others", now, now, 3, 0.5, 0.1, 0.9)])
    for figure in (over_time, agreement_dots([said(0.4)], ["overall"], scale=False)):
        assert figure.layout.xaxis.title.text and figure.layout.legend.yanchor == "bottom"
        assert figure.layout.legend.y >= 1  # above the plot


@pytest.mark.parametrize(
    ("labels", "least"),
    [([said(0.4)], -0.35), ([said(0.4), said(-1.0)], -1.0), ([said(0.1, -0.7)], -0.7), ([said(math.nan)], -0.35)],
)
def test_the_axis_reaches_what_is_drawn(labels: list[LabelAgreement], least: float) -> None:
    figure = agreement_dots(labels, [label.label for label in labels], scale=False)
    low, high = figure.layout.xaxis.range
    assert low <= least < low + 0.1 and high > 1
