"""Documentation that shows code is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.review.project import settings_from_json
from analysis.workspace import Workspace
from tests.tiny_episode import write_tiny_episode

DOCS = Path(__file__).parents[1] / "docs"


def code(page: str, language: str = "python") -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S))


@pytest.fixture
def beside_tiny_data(tmp_path: Path, tiny_tuned: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which the paths of the examples lead to tiny data."""
    write_tiny_episode(tmp_path / "sample_data" / "episodes" / "episode.hdf5")
    (tmp_path / "sample_data" / "checkpoints").mkdir()
    (tmp_path / "sample_data" / "checkpoints" / "tuned").symlink_to(tiny_tuned)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_notebook_example_and_the_records_it_leaves(beside_tiny_data, capsys):
    exec(compile(code("notebook-example.md"), "notebook-example.md", "exec"), {})
    out = capsys.readouterr().out
    assert "put the red block on the towel" in out and "mean absolute error" in out and "heads: ((" in out
    exec(compile(code("records.md"), "records.md", "exec"), {})
    (run,) = Workspace.open("workspace").records.runs()
    assert capsys.readouterr().out == f"{run.address} {run.key.settings} 3 False\n"


def test_the_episode_format_example(beside_tiny_data, monkeypatch, capsys):
    write_tiny_episode(beside_tiny_data / "episode.hdf5")
    exec(compile(code("episode-hdf5.md"), "episode-hdf5.md", "exec"), {})
    assert "put the red block on the towel (6, 7) ['x', 'y', 'z'" in capsys.readouterr().out


def test_the_example_of_a_picture(beside_tiny_data, capsys):
    exec(compile(code("pictures.md"), "pictures.md", "exec"), {})
    assert "Episode tiny" in capsys.readouterr().out and "magma" in Path("step3.svg").read_text()


def test_the_example_of_reviews(beside_tiny_data, capsys):
    (beside_tiny_data / "workspace").mkdir()
    (beside_tiny_data / "workspace" / "workspace.toml").write_text('episodes = ["../sample_data/episodes"]\n')
    exec(compile(code("reviews.md"), "reviews.md", "exec"), {})
    assert capsys.readouterr().out == "overall 1.0 2\n['tiny']\n"
    assert settings_from_json({"name": "x", **json.loads(code("reviews.md", "json"))}).overlap == 3


def test_the_example_of_a_workspace(tmp_path):
    (tmp_path / "workspace.toml").write_text(code("workspace.md", "toml"))
    opened = Workspace.open(tmp_path)
    assert (opened.running.device, opened.running.memory_gb, list(opened.bases)) == ("cuda", 16, ["my-lora"])


def test_the_examples_of_a_description(tmp_path, monkeypatch, capsys):
    write_tiny_episode(tmp_path / "data" / "episode.hdf5")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "workspace.toml").write_text('episodes = ["../data"]')
    monkeypatch.chdir(tmp_path)
    exec(compile(code("dataset-description.md"), "dataset-description.md", "exec"), {})
    assert capsys.readouterr().out.endswith("data.toml 12.5\n")
    opened = Workspace.open("workspace")
    (dataset,) = opened.datasets()
    opened.description_path(dataset.name).write_text(code("dataset-description.md", "toml"))
    assert opened.description(dataset.name).cameras == {"image_0": "over the shoulder"}


def test_links_between_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_of_a_teacher():
    from models.teachers.teacher import TeacherSettings
    from tests.models.teachers.test_answer import clip

    made: dict = {}
    exec(compile(code("add-a-teacher.md"), "add-a-teacher.md", "exec"), made)
    said = made["Laconic"](TeacherSettings()).explain(clip())
    assert (dict(said.parts), said.start, said.stop) == ({"planning": "put the carrot on the plate"}, 0, 1)
