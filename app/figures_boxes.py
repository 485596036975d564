"""A frame on which a box can be dragged."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
import plotly.graph_objects as go

from analysis.metrics.coverage import Box

COLOUR = "#ffc400"
LABEL = 24  # pixels of the frame that a name may take
GRID = 24  # invisible points a side: a selection needs something to select


def frame_figure(data: bytes, kind: str, width: int, height: int, boxes: Mapping[str, Box]) -> go.Figure:
    """The encoded frame in its own pixels, y downwards, with boxes on it."""
    x, y = np.meshgrid(np.linspace(0, width, GRID), np.linspace(0, height, GRID))
    figure = go.Figure(go.Scatter(x=x.ravel(), y=y.ravel(), mode="markers", marker={"opacity": 0.01}, hoverinfo="skip"))
    figure.add_layout_image(
        source=f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}",
        xref="x",
        yref="y",
        x=0,
        y=0,
        sizex=width,
        sizey=height,
        sizing="stretch",
        layer="below",
    )
    for name, (left, top, right, bottom) in boxes.items():
        figure.add_shape(type="rect", x0=left, y0=top, x1=right, y1=bottom, line={"color": COLOUR, "width": 2})
        figure.add_annotation(
            x=left,
            y=top,
            text=escape(name),
            showarrow=False,
            xanchor="left",
            yanchor="bottom" if top > LABEL else "top",  # above the box, where there is room
            bgcolor=COLOUR,
            font={"color": "#1b1d21", "size": 12},
            borderpad=2,
        )
    figure.update_layout(
        height=320,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="select",
        xaxis={"range": [0, width], "visible": False, "fixedrange": True},
        yaxis={"range": [height, 0], "visible": False, "scaleanchor": "x", "fixedrange": True},
        showlegend=False,
    )
    return figure
