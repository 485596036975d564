"""`compare`, `report` and `faithfulness` open a checkpoint in every way in which `attribute` does."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import models
from analysis.__main__ import app
from analysis.commands import faithfulness, pair_options
from analysis.commands.compare import compare
from analysis.commands.options import Opening
from analysis.commands.report import report
from analysis.evidence.episodes import episodes_at, subject
from analysis.evidence.layers import compare_layers
from analysis.evidence.measurements import Subject
from analysis.records import RecordStore, Setting
from models.planted import Planted
from models.policy import Policy
from tests.tiny_episode import frame, write_tiny_episode


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    """Every way in which a policy was opened; a planted one is what opens."""
    asked: list[Opening] = []

    def open_policy(opening: Opening) -> Policy:
        asked.append(opening)
        policy = Planted("patch", lies=opening.checkpoint.name == "second")
        object.__setattr__(policy, "info", replace(policy.info, action_stats=("bridge", "fractal")))
        return policy

    for module in (pair_options, faithfulness):
        monkeypatch.setattr(module, "open_policy", open_policy)
    return asked


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    frames = [frame(step) for step in range(6)]
    return write_tiny_episode(tmp_path / "two.hdf5", images={"shoulder": frames, "wrist": [f // 2 for f in frames]})


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def keys(workspace: Path) -> list[dict[str, object]]:
    return [dict(one.key.settings) for one in RecordStore(workspace / "records").runs()]


@pytest.mark.parametrize("command", ["compare", "report"])
def test_each_side_is_opened_as_it_is_asked_for(
    command: str, opened: list[Opening], episode: Path, tmp_path: Path
) -> None:
    asked: list[object] = [command, "first", "second", episode, "--steps", 1, "--measure", "action", "--no-layers"]
    asked += ["--workspace", tmp_path, "--out", tmp_path / ("out.html" if command == "report" else "out.csv")]
    asked += ["--first-stats", "bridge", "--second-stats", "fractal", "--first-family", "ecot"]
    asked += ["--second-base", "backbone", "--second-camera", "wrist", "--draw", 0.5, "--draw-seed", 7]
    run(*asked)
    first, second = opened
    assert (first.action_stats, first.family, first.base) == ("bridge", "ecot", None)
    assert (second.action_stats, second.family, second.base) == ("fractal", None, Path("backbone"))
    made = {str(key["action_stats"]): key for key in keys(tmp_path)}
    assert made["bridge"] | {"family": "ecot", "temperature": 0.5, "seed": 7} == made["bridge"]
    assert made["fractal"] | {"temperature": 0.5, "seed": 8} == made["fractal"] and "family" not in made["fractal"]
    assert made["bridge"]["cameras"] == ["shoulder=shoulder"] and made["fractal"]["cameras"] == ["wrist=wrist"]
    told = (tmp_path / ("out.html" if command == "report" else "out.csv")).read_text()
    for said in ("first action stats: bridge", "second action stats: fractal", "second cameras: wrist"):
        assert said in told


def test_compare_and_report_have_the_same_options() -> None:
    one, two = (dict(inspect.signature(each).parameters) for each in (compare, report))
    own = {"out", "pictures"}
    assert {name: str(p) for name, p in one.items() if name not in own} == {
        name: str(p) for name, p in two.items() if name not in own
    }


def test_a_map_of_a_checkpoint_on_a_base_is_tested(opened: list[Opening], episode: Path, tmp_path: Path) -> None:
    run("faithfulness", "first", episode, "--steps", 1, "--workspace", tmp_path, "--base", "backbone")
    assert opened[0].base == Path("backbone")


@pytest.mark.slow
def test_layers_are_kept_by_how_both_were_opened_and_what_both_see(
    tiny_base: Path, episode: Path, tmp_path: Path
) -> None:
    policy, records = models.load(tiny_base), RecordStore(tmp_path / "records")
    (two,) = episodes_at([episode])

    def side(camera: str, **opened_as: Setting) -> list[Subject]:
        return [subject(policy.info, two, cameras=[camera], opened_as=opened_as)]

    shoulder, wrist = side("shoulder"), side("wrist")
    apart = compare_layers(policy, policy, (shoulder, wrist), records, 1)
    assert "see different cameras" in apart.why_not
    for own in ((shoulder, shoulder), (wrist, wrist), (wrist, side("wrist", family="ecot"))):
        found = compare_layers(policy, policy, own, records, 1)
        assert all(layer.cka.value == pytest.approx(1) for layer in found.layers) and found.layers
    assert len(keys(tmp_path)) == 4
