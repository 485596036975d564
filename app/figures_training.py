"""Training curves as Plotly figures; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

COLOURS = ("#0f86c4", "#d1495b", "#3d9a50", "#8a5fbf", "#c98a00", "#5d6b7a", "#00a3a3", "#b0477f")


def curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], value: str, title: str, log: bool = False) -> go.Figure:
    """One line a run: ``value`` over samples seen, so that runs of different batches can be laid over each other."""
    figure = go.Figure()
    for number, (name, lines) in enumerate(runs.items()):
        shown = [line for line in lines if line.get(value) is not None]
        figure.add_scatter(
            x=[line["samples"] for line in shown],
            y=[line[value] for line in shown],
            name=escape(name),
            mode="lines" if len(shown) > 1 else "markers",
            line={"color": COLOURS[number % len(COLOURS)], "width": 2},
            hovertemplate=f"{escape(name)}<br>%{{x:,}} samples<br>%{{y:.4g}}<extra></extra>",
        )
    figure.update_layout(
        height=300,
        margin={"l": 10, "r": 10, "t": 34, "b": 10},
        title={"text": title, "font": {"size": 14}},
        xaxis={"title": "samples", "rangemode": "tozero"},
        yaxis={"type": "log" if log else "linear", "title": None},
        legend={"orientation": "h", "y": -0.28},
        showlegend=len(runs) > 1,
        font={"size": 13},
    )
    return figure


def points(runs: Mapping[str, Sequence[Mapping[str, Any]]], value: str) -> list[dict[str, object]]:
    """The numbers of `curves`."""
    return [
        {"run": name, "samples": line["samples"], value: line[value]}
        for name, lines in runs.items()
        for line in lines
        if line.get(value) is not None
    ]
