"""A data set's numbers as plotly figures; pure. Names come from data sets, so signs of markup are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from analysis.action_statistics import BINS, Dimension
from analysis.catalogue import LengthBin

BAR, QUANTILE = "#0f86c4", "#d9730d"
COLUMNS = 4
ROW_HEIGHT = 168  # pixels
TITLE_LENGTH = 28  # signs


def length_histogram(lengths: Sequence[LengthBin]) -> go.Figure:
    """Episodes by their number of steps."""
    hover = [f"{_range(one)}: {one.episodes:,} episodes" for one in lengths]
    figure = go.Figure(
        go.Bar(
            x=[(one.start + one.stop - 1) / 2 for one in lengths],
            y=[one.episodes for one in lengths],
            width=[one.stop - one.start for one in lengths],
            marker={"color": BAR, "line": {"width": 1, "color": "rgba(127,127,127,0.5)"}},
            hovertext=hover,
            hoverinfo="text",
        )
    )
    figure.update_layout(
        height=300,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        xaxis={"title": "steps", "tickformat": ",d", **_integer_axis(lengths)},
        yaxis={"title": "episodes", "rangemode": "tozero"},
        font={"size": 13},
    )
    return figure


def action_histograms(dimensions: Sequence[Dimension]) -> go.Figure:
    """One small histogram for each dimension; dashed lines at the 1st and the 99th percentile."""
    columns = min(COLUMNS, len(dimensions))
    rows = -(-len(dimensions) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[_title(one) for one in dimensions],
        horizontal_spacing=0.05,
        vertical_spacing=min(0.35 / rows, 0.2),
    )
    for place, one in enumerate(dimensions):
        row, column = place // columns + 1, place % columns + 1
        figure.add_trace(_bars(one), row, column)
        for value in (one.q01, one.q99):
            figure.add_vline(value, line={"color": QUANTILE, "width": 1.5, "dash": "dash"}, row=row, col=column)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(showticklabels=False)
    figure.update_xaxes(nticks=5, tickfont={"size": 11})
    figure.update_layout(
        height=ROW_HEIGHT * rows + 50, margin={"l": 10, "r": 10, "t": 30, "b": 10}, showlegend=False, bargap=0
    )
    return figure


def action_bins(dimensions: Sequence[Dimension]) -> list[dict[str, object]]:
    """The numbers of `action_histograms`, a line a bar."""
    return [
        {"dimension": one.name, "unit": one.unit, "from": float(left), "to": float(right), "steps": int(count)}
        for one in dimensions
        for left, right, count in zip(_edges(one)[:-1], _edges(one)[1:], one.counts, strict=True)
    ]


def _edges(one: Dimension) -> Float[np.ndarray, " n"]:
    return np.linspace(one.low, one.high if one.high > one.low else one.low + 1.0, BINS + 1)


def _integer_axis(lengths: Sequence[LengthBin]) -> dict[str, object]:
    """Where lengths hardly differ: room on both sides, and ticks at whole numbers only."""
    first, last = lengths[0].start, lengths[-1].stop - 1
    return {"range": [first - 3, last + 3], "dtick": 1} if last - first < 10 else {}


def _bars(one: Dimension) -> go.Bar:
    edges = _edges(one)
    name = escape(one.name)
    hover = [
        f"{name}: {left:.4g} to {right:.4g}<br>{count:,} steps"
        for left, right, count in zip(edges[:-1], edges[1:], one.counts, strict=True)
    ]
    return go.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=one.counts,
        width=edges[1:] - edges[:-1],
        marker={"color": BAR},
        hovertext=hover,
        hoverinfo="text",
    )


def _title(one: Dimension) -> str:
    text = f"{one.name} [{one.unit}]" if one.unit else one.name
    return escape(text if len(text) <= TITLE_LENGTH else text[: TITLE_LENGTH - 1] + "…")


def _range(one: LengthBin) -> str:
    last = one.stop - 1
    return f"{one.start:,} steps" if last == one.start else f"{one.start:,} to {last:,} steps"
