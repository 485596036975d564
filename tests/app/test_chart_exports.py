"""Files of what a page shows: held for a while, drawn by the browser where it is a Plotly figure."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest
from starlette.testclient import TestClient

from analysis.pictures.chart import Columns, table_chart
from analysis.pictures.provenance import Model, Provenance
from app.chart_exports import KEPT, ChartExports, Exported, exports_of
from app.figures_export import VERSION, OnPaper
from app.library import Library
from app.player_files import CHART_EXPORT
from models.errors import UserError

ABOUT = Provenance("Steps & <b>", "Data set d", models=(Model("m", "0123456789abcdef"),))


def shown(columns: Columns, about: Provenance = ABOUT, figure: go.Figure | None = None) -> Exported:
    drawn = OnPaper(figure) if figure is not None else None
    return Exported("here", about, lambda: table_chart(columns, about), drawn)


def test_a_chart_is_found_again_as_long_as_it_is_held() -> None:
    held = ChartExports()
    key = held.keep(shown({"a": [1]}))
    assert key == held.keep(shown({"a": [1, 2]}, replace(ABOUT, samples="2")))
    assert key != held.keep(shown({"a": [1]}, replace(ABOUT, settings={"step": 1})))
    assert held.find(key).name == "steps-b-01234567" and held.find(key).chart().columns == {"a": [1, 2]}
    for number in range(KEPT):
        held.keep(shown({"a": [1]}, replace(ABOUT, data=str(number))))
    with pytest.raises(UserError, match="reload the page"):
        held.find(key)


def test_every_format_is_served_as_an_attachment(client: TestClient, library: Library) -> None:
    figure = go.Figure(go.Bar(x=[1, 2], y=[3, 4]), layout={"height": 300, "template": "plotly_dark"})
    key = exports_of(library).keep(shown({"x": [1, 2], "y": [3, 4]}, figure=figure))
    answer = client.get("/lens/chart", params={"key": key, "format": "csv"})
    assert answer.headers["content-disposition"] == 'attachment; filename="steps-b-01234567.csv"'
    assert answer.headers["content-security-policy"] == "sandbox" and "0123456789abcdef" in answer.text
    said = client.get("/lens/chart", params={"key": key, "format": "figure"}).json()
    assert said["about"]["caption"] == [*ABOUT.caption] and said["about"]["facts"]["title"] == "Steps & <b>"
    assert said["figure"]["layout"]["paper_bgcolor"] == "white" and said["figure"]["layout"]["height"] == 300
    assert figure.layout.paper_bgcolor is None  # the page's own is left alone
    key = exports_of(library).keep(shown({"x": [1], "file": ["a"], "caption": ["b"]}))
    for format, kind in (("png", "image/png"), ("svg", "image/svg+xml"), ("npz", "application/octet-stream")):
        assert client.get("/lens/chart", params={"key": key, "format": format}).headers["content-type"] == kind


@pytest.mark.parametrize("wrong", [{"key": "0" * 32, "format": "csv"}, {"format": "exe"}, {}])
def test_what_is_not_there_is_said(client: TestClient, library: Library, wrong: dict[str, str]) -> None:
    key = exports_of(library).keep(shown({"x": [1], "file": ["a"], "caption": ["b"]}))
    answer = client.get("/lens/chart", params={"key": key} | wrong)
    assert answer.status_code == 404 and answer.json()["error"]


def test_the_browsers_part_is_served_with_plotlys_own_code(client: TestClient) -> None:
    for name in CHART_EXPORT.files:
        answer = client.get(f"{CHART_EXPORT.address}/{name}")
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert {"picture.js", "png_text.js"} <= set(CHART_EXPORT.files)
    code = client.get(f"/lens/plotly/{VERSION}/plotly.min.js")
    assert code.headers["content-type"].startswith("text/javascript") and "plotly.js" in code.text[:200]
