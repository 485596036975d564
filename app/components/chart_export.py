"""A chart or a table with the one small control that saves it as PNG, SVG, CSV or NPZ, caption included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.pictures.chart import Chart, columns_of, table_chart
from analysis.pictures.provenance import Provenance
from app import figures_export, library
from app.chart_exports import Exported, exports_of
from app.player_files import BASE, CHART_EXPORT

if TYPE_CHECKING:
    import plotly.graph_objects as go

FOLDER = Path(__file__).resolve().parent / "chart_export"
HTML = '<div data-chart-export class="chart-export"></div>'
QUIET = {"displayModeBar": False}

Rows = Sequence[Mapping[str, object]]


def chart(figure: go.Figure, rows: Rows | Callable[[], Rows], about: Provenance, key: str) -> None:
    """Draws a figure. ``rows``: its numbers; where there are many, called when somebody wants them."""

    def made() -> Chart:
        return Chart(about, columns_of(rows() if callable(rows) else rows))

    with st.container(gap=None):
        st.plotly_chart(figure, key=key, config=QUIET)
        _control(Exported(key, about, made, figures_export.OnPaper(figure)))


def table(rows: Rows, about: Provenance, key: str, numbers: Rows | None = None, link: str = "", **options: Any) -> None:
    """Draws a table. ``numbers``: what its data files hold, where that is more than what is shown; ``link``: name of a
    column that leads somewhere on the page and says nothing on paper."""
    drawn = [{name: value for name, value in row.items() if name != link} for row in rows]
    with st.container(gap=None):
        st.dataframe(list(rows), hide_index=True, key=key, placeholder="–", **options)
        _control(Exported(key, about, lambda: table_chart(columns_of(numbers or drawn), about, columns_of(drawn))))


def save(made: Chart, key: str) -> None:
    """Draws the control alone, for what is shown in another way."""
    _control(Exported(key, made.provenance, lambda: made))


def _control(exported: Exported) -> None:
    component = st.components.v2.component(
        "vla_lens_chart_export",
        html=HTML,
        css=CHART_EXPORT.style,
        js=(FOLDER / "control.js").read_text(encoding="utf-8"),
    )
    component(
        key=f"export_{exported.place}",
        data={
            "base": BASE,
            "modules": CHART_EXPORT.address,
            "plotly": f"{BASE}/plotly/{figures_export.VERSION}/plotly.min.js" if exported.figure is not None else "",
            "key": exports_of(library.current()).keep(exported),
            "title": exported.about.title,
            "name": exported.name,
        },
    )
