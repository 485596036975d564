"""Plotly figures as files: on white, drawn in the browser by Plotly's own code, which is served from its package."""

from __future__ import annotations

from importlib.resources import files

import plotly
import plotly.graph_objects as go

PLOTLY = files(plotly) / "package_data" / "plotly.min.js"
VERSION: str = plotly.__version__
WIDTH = 900  # pixels


class OnPaper:
    """A figure as it goes into a file; it is made when it is asked for."""

    def __init__(self, figure: go.Figure) -> None:
        self._figure = figure

    def to_json(self) -> str | None:
        """Data and layout."""
        paper = go.Figure(self._figure)
        paper.layout.title = None  # it stands above, with the caption
        paper.update_layout(template="plotly_white", width=WIDTH, paper_bgcolor="white", plot_bgcolor="white")
        said: str | None = paper.to_json()
        return said
