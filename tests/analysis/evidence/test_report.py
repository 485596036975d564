"""The report: one file, nothing fetched, texts escaped, captions that say what was shown."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis.evidence.charts import comparison_chart
from analysis.evidence.describe import pair_text
from analysis.evidence.exhibits import exhibits, overlay
from analysis.evidence.pair import Pair, measure_pair
from analysis.evidence.probe import probe
from analysis.evidence.report import COLOURS, report_html
from analysis.pictures import chart_files
from analysis.records import RecordStore
from models.planted import Planted
from models.types import PatchGrid
from tests.analysis.evidence.planted_episodes import subjects

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, str]:
    policies = Planted("nothing"), Planted("patch", lies=True)
    own = subjects(6, instruction=f"take the red cup {EVIL}")
    probes = [probe(name) for name in ("action", "attention", "instruction")]
    pair = measure_pair(policies, (own, own), probes, RecordStore(tmp_path_factory.mktemp("records")), 1)
    shown = exhibits(policies, (own, own), pair.comparison, most=2)
    assert len(shown) == 2
    named = replace(pair, first=replace(pair.first, spec=replace(pair.first.spec, name=f"nothing {EVIL}")))
    return pair, report_html(named, shown)


@pytest.mark.slow
def test_nothing_is_fetched_and_no_text_becomes_markup(page: tuple[Pair, str]) -> None:
    html = page[1]
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    sources = re.findall(r"(?:src|href)=[\"']([^\"']*)", html)
    assert len(sources) == 6  # a frame and two overlays, twice
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?://", html)


def test_it_is_well_formed(page: tuple[Pair, str]) -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page[1])
    assert parser.open == []


def test_captions_name_model_episode_step_method_and_settings(page: tuple[Pair, str]) -> None:
    pair, html = page
    step = pair.comparison.steps[0]
    captions = [c for c in re.findall(r"<figcaption>(.*?)</figcaption>", html, re.DOTALL) if "mean attention" in c]
    assert len(captions) == 4
    for text in (
        pair.second.spec.digest,
        step.place.episode,
        f"step {step.place.step}",
        "badge of the map: not tested",
    ):
        assert text in captions[1]
    assert "steps of each episode: 1" in html
    assert pair.first.measured.records[0] in html
    assert "6 episodes, 6 steps" in html


def test_charts_have_the_pages_colours_and_table_heads_are_printed_on_every_page(page: tuple[Pair, str]) -> None:
    html = page[1]
    assert html.count("<svg") == 1 and "No metric has" not in html  # the layers of these policies cannot be compared
    assert 'fill="var(--ink)"' in html and not re.search(r'(fill|stroke)="#', html)
    assert all(f"--{name}:" in html for name in COLOURS)
    assert html.count("<thead>") == html.count("<table") and "@media print" in html


def test_a_comparison_is_a_chart_with_every_number(page: tuple[Pair, str]) -> None:
    pair = page[0]
    chart = comparison_chart(pair)
    lines = chart_files.table(chart).decode().splitlines()
    said = " ".join(line for line in lines if line.startswith("#"))
    assert pair.second.spec.digest in said and "steps of each episode: 1" in said and "sign-flip" in said
    assert "6 episodes, 6 steps" in said and pair.first.measured.records[-1] in said
    assert len([line for line in lines if not line.startswith("#")]) == 1 + len(pair.comparison.rows)
    with np.load(io.BytesIO(chart_files.npz(chart)), allow_pickle=False) as data:
        assert data["difference value"].tolist() == [row.difference.value for row in pair.comparison.rows]


def test_what_was_not_measured_is_not_called_the_same(tmp_path: Path) -> None:
    own = subjects(1)
    few = measure_pair(
        (Planted("patch"), Planted("patch", lies=True)), (own, own), [probe("attention")], RecordStore(tmp_path), 1
    )
    for told in (report_html(few), pair_text(few)):
        assert "The action was not measured." in told and "are the same" not in told
        assert "Too few episodes to say whether the two differ: 1 measured, 6 or more are needed." in told
        assert "p: not tested, which takes 6 episodes or more" in told and "corrected by" not in told
        assert "No metric shows" not in told
    assert "not tested" in comparison_chart(few).provenance.method
    same = measure_pair((Planted("word"), Planted("word")), (own, own), [probe("action")], RecordStore(tmp_path), 1)
    for told in (report_html(same), pair_text(same)):
        assert "The actions are the same at every measured step." in told


def test_an_overlay_is_strongest_at_the_highest_patch_and_keeps_what_is_outside() -> None:
    frame = np.zeros((4, 8, 3), np.uint8)
    map = np.array([[1.0, 0.5]])
    got = overlay(frame, map, PatchGrid("image", 1, 2, (0.0, 0.0, 4.0, 4.0)))
    assert got[0, 0].tolist() == [166, 127, 0]  # 0.65 of amber
    assert got[0, 2].tolist() == [83, 64, 0]
    assert not got[:, 4:].any()


def test_half_a_sign_can_be_written(page: tuple[Pair, str]) -> None:
    pair = page[0]
    named = replace(pair, first=replace(pair.first, spec=replace(pair.first.spec, name="cut off \ud83d")))
    assert b"<h1>cut off \\ud83d against" in report_html(named).encode()
