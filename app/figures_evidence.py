"""Figures of the evidence page: values to Plotly figures; pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from analysis.evidence.comparison import Row
from analysis.evidence.layers import LayerChange
from analysis.evidence.verdict import Number, rounded
from analysis.metrics.bootstrap import Estimate

CERTAIN, OPEN = "#0f86c4", "#8c95a3"


def numbers_figure(numbers: Sequence[Number]) -> go.Figure:
    """Means with their intervals, one row each; zero marked."""
    shown = [number for number in numbers if number.estimate.n]
    figure = _rows([number.label for number in shown], [number.estimate for number in shown], None)
    figure.update_layout(xaxis={"title": next((number.unit for number in shown if number.unit), None)})
    return figure


def differences_figure(rows: Sequence[Row]) -> go.Figure:
    """Second minus first of each metric, scaled to its own interval so that all fit around zero."""
    shown = [row for row in rows if row.difference.has_interval]
    scaled = [_scaled(row.difference) for row in shown]
    certain = [row.says in ("higher", "lower") for row in shown]
    texts = [
        f"{row.metric.title}: {rounded(row.difference.value)} "
        f"[{rounded(row.difference.low)}, {rounded(row.difference.high)}], n = {row.difference.n}"
        for row in shown
    ]
    figure = _rows([row.metric.title for row in shown], scaled, certain, texts)
    figure.update_layout(
        xaxis={"title": "second lower | second higher (each row on its own scale)", "showticklabels": False}
    )
    return figure


def lens_figure(to_last: Sequence[Estimate], agrees: Sequence[Estimate]) -> go.Figure:
    """The action lens over layers: distance from the last layer's odds, and share of bins that agree with it."""
    figure = go.Figure()
    layers = list(range(len(to_last)))
    for name, values, colour, axis in (
        ("distance from the last layer, bits", to_last, CERTAIN, "y"),
        ("likeliest bins agree, share", agrees, OPEN, "y2"),
    ):
        figure.add_scatter(
            x=layers,
            y=[v.value for v in values],
            name=name,
            mode="lines+markers",
            line={"color": colour},
            yaxis=axis,
            error_y=_errors(values),
        )
    figure.update_layout(
        height=260,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.3},
        xaxis={"title": "layer", "dtick": max(1, len(layers) // 16)},
        yaxis={"title": "bits", "rangemode": "tozero"},
        yaxis2={"title": "share", "range": [0, 1.05], "overlaying": "y", "side": "right", "showgrid": False},
        font={"size": 13},
    )
    return figure


def layers_figure(layers: Sequence[LayerChange]) -> go.Figure:
    """CKA and attention change of each layer."""
    figure = go.Figure()
    for name, values, colour, axis in (
        ("CKA of the states", [each.cka for each in layers], CERTAIN, "y"),
        ("attention change", [each.attention for each in layers], "#d9822b", "y2"),
    ):
        figure.add_scatter(
            x=[each.layer for each in layers],
            y=[v.value for v in values],
            name=name,
            mode="lines+markers",
            line={"color": colour},
            yaxis=axis,
            error_y=_errors(values),
        )
    figure.update_layout(
        height=280,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.3},
        xaxis={"title": "layer", "dtick": max(1, len(layers) // 16)},
        yaxis={"title": "CKA", "range": [0, 1.05]},
        yaxis2={
            "title": "total variation",
            "rangemode": "tozero",
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
        },
        font={"size": 13},
    )
    return figure


def _rows(
    labels: Sequence[str],
    values: Sequence[Estimate],
    certain: Sequence[bool] | None,
    texts: Sequence[str] | None = None,
) -> go.Figure:
    colours = [CERTAIN if certain is None or sure else OPEN for sure in (certain or [True] * len(values))]
    hover = texts or [f"{label}: {rounded(v.value)}, n = {v.n}" for label, v in zip(labels, values, strict=True)]
    hover = [escape(text) for text in hover]
    figure = go.Figure(
        go.Scatter(
            x=[v.value for v in values],
            y=[escape(label) for label in labels],
            mode="markers",
            marker={"size": 10, "color": colours},
            error_x=_errors(values),
            hovertext=hover,
            hoverinfo="text",
        )
    )
    figure.add_vline(x=0, line={"color": OPEN, "width": 1})
    figure.update_layout(
        height=60 + 30 * max(1, len(labels)),
        margin={"l": 10, "r": 10, "t": 6, "b": 10},
        yaxis={"autorange": "reversed", "title": None},
        font={"size": 13},
        showlegend=False,
    )
    return figure


def _errors(values: Sequence[Estimate]) -> dict[str, object]:
    up = [v.high - v.value if v.has_interval else 0.0 for v in values]
    down = [v.value - v.low if v.has_interval else 0.0 for v in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": up,
        "arrayminus": down,
        "thickness": 1.5,
        "width": 4,
        "color": OPEN,
    }


def _scaled(held: Estimate) -> Estimate:
    reach = max(abs(held.low), abs(held.high)) or 1.0
    return Estimate(held.value / reach, held.low / reach, held.high / reach, held.n, held.level, held.kind)
