"""The player's heads, words, actions and odds as files, and the tile that a picture is cut down to."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.compare import PredictedActions
from analysis.pictures import View, chart_files
from analysis.pictures.action_chart import matched
from analysis.pictures.chart import Chart
from analysis.pictures.panels import Shown, figure_of
from analysis.pictures.queries import resolve
from analysis.pictures.runs import NamedRun, figure_at
from analysis.pictures.step_charts import STEP_CHARTS, chart_at
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from tests.browser.planted_runs import ON_TILE, ON_WHOLE, SIZE, text_prediction
from tests.planted_run import planted_run
from tests.tiny_episode import STEPS

EVIL = '<script>alert("1")</script> & =cmd()'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Episode, NamedRun]:
    return planted_run(tmp_path_factory.mktemp("step charts"), EVIL)


def rows(chart: Chart) -> list[dict[str, str]]:
    lines = chart_files.table(chart).decode().splitlines()
    return list(csv.DictReader(io.StringIO("\n".join(line for line in lines if not line.startswith("# ")))))


@pytest.mark.parametrize("what", STEP_CHARTS)
def test_every_view_is_written_in_every_format_with_its_caption(made: Any, what: str) -> None:
    _, episode, run = made
    chart = chart_at(what, episode, 2, [run, replace(run, name=f"again {EVIL}")], View(query="action"))
    for make in chart_files.CHARTS.values():
        assert make(chart)
    said = " ".join(chart.provenance.caption)
    for part in (run.run.key.checkpoint, run.run.address, episode.meta.digest, "step 2 of 0–5"):
        assert part in said
    assert "<script" not in chart_files.svg(chart).decode()


def test_words_carry_the_row_that_the_picture_shows(made: Any) -> None:
    _, episode, run = made
    view = View(reduce="mean")
    row = figure_at(episode, 1, [run], view).arrays["model0_row"]
    chart = chart_at("tokens", episode, 1, [run], view)
    np.testing.assert_allclose([float(each["value"]) for each in rows(chart)], row, rtol=1e-6)
    assert "mean of all heads" in chart.provenance.method and len(chart.columns["token"]) == len(row)
    assert any(each["says"] for each in rows(chart) if each["part"] == "action")


def test_words_are_shaded_by_the_patch_that_is_picked(made: Any) -> None:
    _, episode, run = made
    prediction = run.run.read(1)
    record = prediction.attention[0]
    start = len(record.layout.tokens) - prediction.written
    image = int(record.layout.positions(record.layout.spans[0].part.IMAGE)[2])
    wanted = {start + at: record.weights[:, :, k, image].mean() for k, at in enumerate(record.produced) if at >= 0}
    chart = chart_at("tokens", episode, 1, [run], View(reduce="mean", patch=2))
    found = {int(each["position"]): float(each["value"]) for each in rows(chart) if each["value"]}
    assert found.keys() == wanted.keys() and "looks at patch 2" in chart.provenance.method
    np.testing.assert_allclose([found[k] for k in wanted], [*wanted.values()], rtol=1e-2)  # stored in half precision


def test_heads_are_shares_on_the_image_and_the_drawn_one_is_marked(made: Any) -> None:
    _, episode, run = made
    chart = chart_at("heads", episode, 0, [run], View(reduce="head", layer=1, head=0))
    prediction = run.run.read(0)
    record = prediction.attention[0]
    assert len(rows(chart)) == record.weights.shape[0] * record.weights.shape[1]
    asked = list(resolve(prediction, record, "action").rows)
    image = record.layout.positions(record.layout.spans[0].part.IMAGE)
    wanted = record.weights[:, :, asked][..., image].astype(float).mean(2).sum(-1).ravel()
    np.testing.assert_allclose([float(each["share on the image"]) for each in rows(chart)], wanted, rtol=1e-3)
    assert [(each["layer"], each["head"]) for each in rows(chart) if each["drawn"] == "True"] == [("1", "0")]
    assert "query: all action" in chart.provenance.method


def test_actions_stand_beside_the_recorded_ones_and_gaps_stay_gaps(made: Any) -> None:
    _, episode, run = made
    found = rows(chart_at("actions", episode, 0, [run], View()))
    own = run.run.key.checkpoint
    assert own and {each["dimension"] for each in found} >= set(episode.meta.action_names)
    recorded = [float(each["recorded"]) for each in found if each["dimension"] == "x"]
    np.testing.assert_allclose(recorded, episode.actions[:, 0], rtol=1e-6)
    last = [each["predicted by planted"] for each in found if each["step"] == str(STEPS - 1)]
    assert set(last) <= {"", "nan"}


def test_dimensions_are_matched_by_name_else_in_order() -> None:
    def actions(names: tuple[str, ...], units: tuple[str, ...]) -> PredictedActions:
        return PredictedActions(np.zeros((1, len(names))), names, units)

    recorded = actions(("x", "y"), ("m", "m"))
    assert matched(recorded, actions(("y", "x"), ("m", "m"))) == {0: 1, 1: 0}
    assert matched(recorded, actions(("y", "w"), ("rad", ""))) == {}
    assert matched(recorded, actions(("a", "b"), ("", "m"))) == {0: 0, 1: 1}
    assert matched(recorded, actions(("a", "b"), ("rad", "m"))) == {}


def test_a_step_that_was_not_run_says_so(made: Any) -> None:
    _, episode, run = made
    for what in ("tokens", "heads", "odds"):
        chart = chart_at(what, episode, STEPS - 1, [run], View())
        assert "not" in chart_files.svg(chart).decode() and not rows(chart)
    with pytest.raises(UserError, match="there is no view 'hat'; there are frame, heads, tokens, actions, odds"):
        chart_at("hat", episode, 0, [run], View())


@pytest.mark.parametrize(("tile", "full"), [(-1, ON_TILE), (0, ON_WHOLE), (8, ON_TILE), (5, ON_TILE)])
def test_a_picture_is_of_the_tile_that_the_view_names(tile: int, full: float) -> None:
    meta = EpisodeMeta("e", "", "look", 3, 5.0, ("shoulder",), None, digest="0" * 16)
    shown = Shown("text", "1" * 16, text_prediction("shoulder"))
    frames = {"shoulder": np.zeros((SIZE, SIZE, 3), np.uint8)}
    figure = figure_of(meta, 0, frames, [shown], View(reduce="mean", query="rationale", tile=tile))
    overlays = figure.panels[0].overlays
    assert len(overlays) == (1 if tile in (0, 8) else 3)
    assert max(float(each.values.max()) for each in overlays) == pytest.approx(full)
    assert figure.panels[0].full == pytest.approx(ON_TILE)  # colours stay comparable
    said = "only the part from 128, 0 to 256, 256 px" in figure.caption[1]
    assert said == (tile == 8)


def test_the_command_writes_the_same(made: Any, tmp_path: Path) -> None:
    path, episode, run = made
    told = ["picture", str(path), str(tmp_path / "heads.csv"), "--step", "1", "--record", run.run.address]
    told += ["--workspace", str(run.run.path.parents[1])]
    done = CliRunner().invoke(app, [*told, "--what", "heads", "--set", "reduce=mean"])
    assert done.exit_code == 0, done.output
    chart = chart_at("heads", episode, 1, [NamedRun(run.run, "")], View(reduce="mean"))
    assert (tmp_path / "heads.csv").read_bytes() == chart_files.table(chart)
    wrong = CliRunner().invoke(app, [*told, "--what", "hat"])
    assert isinstance(wrong.exception, UserError) and "there is no view 'hat'" in str(wrong.exception)
