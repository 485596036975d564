"""Effects of interventions to Plotly figures; pure."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go

from analysis.interventions.chart import reach
from analysis.interventions.effect import Divergence, Effect

BEFORE, AFTER = "#8c95a3", "#d9730d"


def action_dumbbells(effect: Effect, step: int) -> go.Figure:
    """Every dimension before and after, as a share of what it reaches in either answer's odds, or of both values."""
    names, units = effect.before.action_names, effect.before.action_units
    figure = go.Figure()
    for column, (name, unit) in enumerate(zip(names, units, strict=True)):
        one, other = float(effect.before.actions[step, column]), float(effect.after.actions[step, column])
        low, high = reach(effect, step, name, column)
        ends = [(value - low) / (high - low) for value in (one, other)]
        said = [escape(f"{name}, {when}: {value:+.4f} {unit}") for when, value in (("before", one), ("after", other))]
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=[escape(name)] * 2,
                mode="lines+markers",
                line={"color": AFTER, "width": 3},
                marker={"size": 12, "color": [BEFORE, AFTER], "symbol": ["circle", "diamond"]},
                hovertext=said,
                hoverinfo="text",
                showlegend=False,
            )
        )
    for label, colour, symbol in (("before", BEFORE, "circle"), ("after", AFTER, "diamond")):
        marker = {"size": 11, "color": colour, "symbol": symbol}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=label, marker=marker))
    title = "share of the range" if effect.divergences else "share of what both answers reach"
    figure.update_layout(
        height=70 + 32 * len(names),
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        xaxis={"title": title, "range": [-0.04, 1.04], "tickformat": ".0%", "zeroline": False},
        yaxis={"autorange": "reversed", "type": "category", "title": None},
        legend={"orientation": "h", "y": 1.0, "x": 1.0, "xanchor": "right", "yanchor": "bottom"},
        font={"size": 13},
    )
    return figure


def distributions(divergence: Divergence, unit: str) -> go.Figure:
    """The odds of one action token before and after."""
    figure = go.Figure()
    pairs = (("before", divergence.before, BEFORE), ("after", divergence.after, AFTER))
    for label, entry, colour in pairs:
        order = np.argsort(entry.values)
        figure.add_trace(
            go.Scatter(
                x=entry.values[order],
                y=entry.probabilities[order],
                name=label,
                mode="lines",
                line={"shape": "hvh", "color": colour, "width": 2},
                fill="tozeroy",
                hovertemplate="%{x:+.4f} " + escape(unit) + ": %{y:.3f}",
            )
        )
    figure.update_layout(
        height=230,
        margin={"l": 10, "r": 10, "t": 10, "b": 40},
        xaxis={"title": escape(f"{divergence.name}, {unit}"), "zeroline": False},
        yaxis={"title": "probability", "rangemode": "tozero"},
        legend={"orientation": "h", "y": 1.0, "x": 1.0, "xanchor": "right", "yanchor": "bottom"},
        hovermode="x unified",
        font={"size": 13},
    )
    return figure
