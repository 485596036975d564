"""The page of training curves, run by Streamlit's own test harness."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.finetuning.training_runs import training_runs
from app.figures_training import curves
from models.errors import UserError
from models.refine.curves import CurveFile, read_curves
from tests.app.test_pages import run
from tests.tiny_episode import write_tiny_episode


def write_run(folder: Path, steps: int, finished: bool, loss: float = 4.0) -> None:
    work = folder / "training"
    work.mkdir(parents=True)
    settings = {"reasoning_weight": 0.3, "order": "rationale first", "mode": "selective", "steps": 40, "batch": 8}
    (work / "settings.json").write_text(json.dumps({"settings": settings, "made_of": {"base": {"family": "openvla"}}}))
    file = CurveFile(work / "curves.jsonl", 8)
    for step in range(10, steps + 1, 10):
        file.add(step, {"loss": loss / step, "action_loss": 2 / step, "reasoning_loss": 1 / step, "grad_norm": 1.0})
    if finished:
        (folder / "config.json").write_text("{}")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    write_tiny_episode(tmp_path / "data" / "e.hdf5")
    write_run(tmp_path / "checkpoints" / "first", 40, finished=True)
    write_run(tmp_path / "checkpoints" / "second", 20, finished=False)
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = ["checkpoints"]\n')
    return tmp_path


@pytest.mark.slow
def test_all_runs_are_listed_with_their_state(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = run(monkeypatch, trained, page="Training")
    assert not test.exception
    rows = test.dataframe[0].value.to_dict("records")
    assert [(row["run"], row["base"], row["state"], row["steps"]) for row in rows] == [
        ("first", "OpenVLA", "finished", "40 of 40"),
        ("second", "OpenVLA", "under way or stopped", "20 of 40"),
    ]
    test.multiselect(key="training_runs").set_value(["second"]).run()
    assert len(test.dataframe[0].value) == 1


@pytest.mark.slow
def test_no_run_says_how_to_make_one(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (trained / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')
    test = run(monkeypatch, trained, page="Training")
    assert not test.exception
    assert "python -m analysis finetune" in test.info[0].value


@pytest.mark.slow
def test_a_broken_run_is_named_beside_the_others(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (trained / "checkpoints" / "first" / "training" / "curves.jsonl").write_text("[1]\n")
    test = run(monkeypatch, trained, page="Training")
    assert not test.exception
    assert "line 1" in test.warning[0].value
    assert [row["run"] for row in test.dataframe[0].value.to_dict("records")] == ["second"]


def test_curves_are_drawn_over_samples(trained: Path) -> None:
    runs = {each.name: each.lines for each in training_runs([trained / "checkpoints"])}
    figure = curves(runs, "action_loss", "L action")
    assert [trace.name for trace in figure.data] == ["first", "second"]
    assert list(figure.data[1].x) == [80, 160]
    assert list(figure.data[1].y) == [0.2, 0.1]


def test_a_resumed_run_forgets_what_it_does_again(tmp_path: Path) -> None:
    write_run(tmp_path / "r", 40, finished=False)
    file = tmp_path / "r" / "training" / "curves.jsonl"
    with file.open("a") as stream:
        stream.write('{"step": 50, "los')
    assert [line["step"] for line in read_curves(file)] == [10, 20, 30, 40]
    CurveFile(file, 8).forget_after(20)
    assert [line["step"] for line in read_curves(file)] == [10, 20]
    file.write_text("x\n")
    with pytest.raises(UserError, match="line 1"):
        read_curves(file)
