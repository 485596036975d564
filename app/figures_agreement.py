"""Agreement of annotators as Plotly figures; pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isnan

import plotly.graph_objects as go

from analysis.review.agreement import DriftPoint, LabelAgreement, PairAgreement

MEASURES = (("percent", "per cent"), ("fleiss", "Fleiss' κ"), ("alpha", "Krippendorff's α"), ("ac", "Gwet's AC"))
COLOURS = ("#8c95a3", "#0f86c4", "#9a5fb5", "#d9730d")
ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}  # the legend: below it would cover an axis' title
GOOD = 0.8  # Krippendorff's usual bound for firm conclusions


def agreement_dots(labels: Sequence[LabelAgreement], titles: Sequence[str], scale: bool) -> go.Figure:
    """Each measure of each label with its 95 % interval. ``scale``: verdicts as ordered, near misses count in part."""
    figure = go.Figure()
    lowest = -0.35  # systematic disagreement goes down to -1
    for place, (name, title) in enumerate(MEASURES):
        found = [getattr(label.ordinal if scale else label.nominal, name) for label in labels]
        lowest = min([lowest, *(bound for one in found for bound in (one.value, one.low) if not isnan(bound))])
        number = " 2" if scale else " 1"
        figure.add_scatter(
            x=[one.value for one in found],
            y=[row + 0.27 - 0.18 * place for row in range(len(labels))],
            error_x={
                "array": [one.high - one.value for one in found],
                "arrayminus": [one.value - one.low for one in found],
                "thickness": 1.5,
                "width": 4,
            },
            mode="markers",
            marker={"color": COLOURS[place], "size": 9},
            name=title + (number.strip() if name == "ac" else ""),
            hovertemplate="%{x:.3f}<extra>" + title + "</extra>",
        )
    figure.add_vline(x=GOOD, line={"dash": "dot", "color": "#8c95a3", "width": 1})
    figure.update_layout(
        height=110 + 46 * len(labels),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={"title": "agreement", "range": [lowest - 0.05, 1.05], "zeroline": True},
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [escape(title) for title in titles],
            "autorange": "reversed",
        },
        legend=ABOVE,
    )
    return figure


def confusion_heat(pair: PairAgreement) -> go.Figure:
    """How often the first annotator (rows) said one category and the second (columns) another."""
    counts = pair.table.tolist()
    figure = go.Figure(
        go.Heatmap(
            z=counts,
            x=[escape(category) for category in pair.categories],
            y=[escape(category) for category in pair.categories],
            text=counts,
            texttemplate="%{text}",
            colorscale="Blues",
            showscale=False,
            hovertemplate="%{y} / %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_layout(
        height=90 + 42 * len(pair.categories),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={"title": escape(pair.second), "side": "bottom"},
        yaxis={"title": escape(pair.first), "autorange": "reversed"},
    )
    return figure


def drift_lines(points: Sequence[DriftPoint]) -> go.Figure:
    """Share of overall verdicts that agree with the others (or gold), by stretches of each annotator's reviews."""
    figure = go.Figure()
    series = list(dict.fromkeys((point.annotator, point.against) for point in points))
    for annotator, against in series:
        mine = [point for point in points if (point.annotator, point.against) == (annotator, against)]
        figure.add_scatter(
            x=[point.start for point in mine],
            y=[point.agreed for point in mine],
            error_y={
                "array": [point.high - point.agreed for point in mine],
                "arrayminus": [point.agreed - point.low for point in mine],
                "thickness": 1,
                "width": 3,
            },
            mode="lines+markers",
            line={"dash": "dot" if against == "gold" else "solid"},
            name=escape(f"{annotator}, {against}"),
            hovertemplate="%{y:.0%} of %{customdata}<extra>%{fullData.name}</extra>",
            customdata=[point.compared for point in mine],
        )
    figure.update_layout(
        height=320,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        yaxis={"title": "same overall verdict", "range": [0, 1.05], "tickformat": ".0%"},
        xaxis={"title": "first review of the stretch, UTC"},
        legend=ABOVE,
    )
    return figure
