"""Charts and tables as files: captions in all of them, words of data sets never as markup or formulas."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from analysis.pictures import chart_files
from analysis.pictures.chart import Chart, columns_of, table_chart
from analysis.pictures.provenance import Model, Provenance
from analysis.pictures.shapes import LIGHT, Box, Dot, Drawing, Text, beside, mixed, stacked
from analysis.pictures.shapes import Path as Line
from analysis.pictures.shapes_png import SCALE, pixels
from analysis.pictures.shapes_svg import inline
from models.errors import UserError

EVIL = '=1+<script>alert("1")</script> & \x07 “put it”'
ABOUT = Provenance(
    title=f"Heads: {EVIL}",
    data=f"Episode e0 (digest 0123456789abcdef), step 3 of 0–9: {EVIL}",
    method="share of the row on the image",
    samples="24 heads",
    models=(Model("tuned <b>", "fedcba9876543210", "00ff"),),
    settings={"reduce": "mean", "layers": [1, 2]},
    records=tuple(f"r{k}" for k in range(9)),
)
ROWS = [{"name": EVIL, "share": 0.25, "n": 3}, {"name": "plain", "share": float("nan"), "n": None}]


@pytest.fixture(scope="module")
def chart() -> Chart:
    return table_chart(columns_of(ROWS), ABOUT)


def test_a_caption_names_model_episode_step_method_settings_and_n() -> None:
    said = "\n".join(ABOUT.caption)
    for part in (
        "Model tuned <b> (digest fedcba9876543210, record 00ff)",
        "digest 0123456789abcdef",
        "step 3 of 0–9",
        "Method: share of the row on the image\nn: 24 heads\n",
        "Settings: reduce: mean; layers: 1, 2",
        "Records r0, r1, r2, r3 and 5 more",
        "VLA Lens",
    ):
        assert part in said
    assert len(ABOUT.facts["records"]) == 9 and json.loads(json.dumps(ABOUT.facts)) == ABOUT.facts  # type: ignore[arg-type]


def test_an_svg_shows_its_caption_and_takes_no_markup_from_words(chart: Chart) -> None:
    said = chart_files.svg(chart).decode()
    root = ElementTree.fromstring(said)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "desc", "metadata", "rect", "polyline", "text"}
    assert "<script" not in said and "<b>" not in said and "\x07" not in said
    words = " ".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert "Model tuned <b> (digest fedcba9876543210, record 00ff)" in words and "0123456789abcdef" in words
    described = next(element.text or "" for element in root.iter() if element.tag.endswith("desc"))
    assert "step 3 of 0–9" in described and '<script>alert("1")' in described


def test_a_png_holds_its_caption_as_text_too(chart: Chart) -> None:
    picture = Image.open(io.BytesIO(chart_files.png(chart)))
    assert picture.text["Description"].count("\n") == len(ABOUT.caption) - 1  # type: ignore[attr-defined]
    facts = json.loads(picture.text["vla-lens"])  # type: ignore[attr-defined]
    assert facts["models"][0]["digest"] == "fedcba9876543210" and facts["records"] == list(ABOUT.records)
    assert picture.size == tuple(round(side * SCALE) for side in _size(chart))


def test_a_csv_says_what_it_is_and_holds_no_formula(chart: Chart) -> None:
    lines = chart_files.table(chart).decode().splitlines()
    head = [line for line in lines if line.startswith("# ")]
    assert len(head) == len(ABOUT.caption) + 1 and json.loads(head[-1].removeprefix("# vla-lens "))["method"]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[len(head) :]))))
    assert rows[0]["name"].startswith("'=1+<script>") and rows[0]["share"] == "0.25"
    assert rows[1] == {"name": "plain", "share": "nan", "n": ""}


def test_an_npz_has_an_array_a_column(chart: Chart) -> None:
    with np.load(io.BytesIO(chart_files.npz(chart)), allow_pickle=False) as data:
        assert data["share"][0] == 0.25 and np.isnan(data["n"][1]) and data["name"][1] == "plain"
        assert str(data["caption"]).splitlines() == [*ABOUT.caption]


def test_shapes_are_the_same_in_both_kinds_of_picture() -> None:
    one = Drawing(40, 20, (Box(0, 0, 20, 20, "first"), Dot(30, 10, 5, "second")), "a box and a dot")
    two = Drawing(40, 20, (Line(((0, 10), (40, 10)), "ink", 4),), "a line")
    both = stacked(one, two, gap=0)
    picture = np.asarray(pixels(both))
    for x, y, colour in ((10, 10, "first"), (30, 10, "second"), (20, 30, "ink"), (39, 1, "paper")):
        assert "#" + "".join(f"{value:02x}" for value in picture[y * SCALE, x * SCALE]) == LIGHT[colour]
    page = inline(beside(one, Drawing(9, 9, (Text(0, 9, "<i>"),))), {"first": "var(--first)"})
    assert 'fill="var(--first)"' in page and "&lt;i&gt;" in page and "a box and a dot" in page
    assert mixed("#000000", 0.5) == "#808080" and mixed("first", float("nan")) == "#ffffff"


def test_what_cannot_be_written_is_said(tmp_path: Path, chart: Chart) -> None:
    with pytest.raises(UserError, match="expected a name that ends in"):
        chart_files.write_chart(chart, tmp_path / "chart.pdf")
    with pytest.raises(UserError, match="at most 8000 along a side"):
        chart_files.png(table_chart({"row": list(range(400))}, ABOUT))
    with pytest.raises(UserError, match="drawn by the browser"):
        chart_files.svg(Chart(ABOUT, {}))
    with pytest.raises(ValueError, match="different lengths"):
        Chart(ABOUT, {"a": [1], "b": []})


def _size(chart: Chart) -> tuple[float, float]:
    sheet = chart_files.sheet(chart)
    return np.ceil(sheet.width), np.ceil(sheet.height)
