"""python -m analysis reviews."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.review import Judgement, PartJudgement, ProjectSettings, Source
from analysis.workspace import Workspace
from models.types import Rationale
from tests.analysis.review_world import GOOD, corrected, say
from tests.tiny_episode import write_tiny_episode


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs a command about reviews in a workspace of one episode; gives exit code, stdout and stderr."""
    write_tiny_episode(tmp_path / "data" / "a.hdf5", id="a")
    (tmp_path / "workspace.toml").write_text('episodes = ["data"]\ncheckpoints = []\n')

    def run(*arguments: object) -> tuple[int, str, str]:
        given = ["analysis", "reviews", *map(str, arguments), "--workspace", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.slow
def test_from_a_new_project_to_what_came_out(command, tmp_path):
    (tmp_path / "rules.md").write_text("# Look twice")
    made = command("project", "create", "first", "--guidelines", tmp_path / "rules.md", "--overlap", 2, "--json")
    id = json.loads(made[1])["id"]
    store = Workspace.open(tmp_path).reviews
    assert store.project(id).settings.guidelines == "# Look twice"
    (tmp_path / "changes.json").write_text('{"blind": false}')
    assert command("project", "edit", "first", tmp_path / "changes.json")[0] == 0
    assert store.project(id).settings.overlap == 2 and not store.project(id).settings.blind
    for item in store.items(id):
        for name in ("ann", "ben"):
            say(store, item.id, name, GOOD if len(item.source.rationale.parts) == 2 else GOOD.__class__((), "accept"))
    assert "first: 4 of 4 reviews, 2 rationales" in command("project", "list")[1]
    assert "ann: 2 reviews (accept 2, correct 0" in command("progress", id)[1]
    assert json.loads(command("progress", id, "--json")[1])["done"] == 2
    assert "overall: 1.000" in command("agreement", "first", "--resamples", 10)[1]
    out = tmp_path / "out" / "all.jsonl"
    assert command("export", "first", out)[1].strip() == str(out)
    assert command("export", "first", tmp_path / "hdf5", "--format", "hdf5", "--rule", "all", "--least", 2)[0] == 0
    code, said, _ = command("import", out, "--json")
    assert code == 0 and json.loads(said)["reviews"] == 0  # all there already


@pytest.mark.slow
def test_rationales_are_imported_to_be_reviewed(command, tmp_path):
    line = {"episode": "a", "start": 0, "stop": 2, "author": "me", "parts": {"planning": "go"}}
    (tmp_path / "said.jsonl").write_text(json.dumps(line))
    code, _, err = command("import", tmp_path / "said.jsonl")
    assert code == 2 and "say with --project or --name" in err
    assert json.loads(command("import", tmp_path / "said.jsonl", "--name", "mine", "--json")[1])["items"] == 1
    assert json.loads(command("import", tmp_path / "said.jsonl", "--project", "mine", "--json")[1])["items"] == 0


def lines_of(kept: Path, *kinds: str) -> str:
    """The archive's lines of these kinds."""
    lines = kept.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if json.loads(line)["kind"] in kinds)


@pytest.fixture
def archive(command, tmp_path) -> Path:
    """Of a project whose rationales were both corrected."""
    id = json.loads(command("project", "create", "first", "--json")[1])["id"]
    store = Workspace.open(tmp_path).reviews
    for item in store.items(id):
        say(store, item.id, "ann", corrected("better", next(iter(item.source.rationale.parts))))
        store.adjudicate(item.id, GOOD.__class__((), "accept"), "lead", 0)
    command("export", "first", tmp_path / "all.jsonl")
    return tmp_path / "all.jsonl"


def test_an_archive_is_never_taken_for_mere_rationales(command, archive, tmp_path):
    code, _, err = command("import", archive, "--name", "second")
    assert code == 2 and "is an archive of reviews, and --name is for rationales" in err
    assert len(Workspace.open(tmp_path).reviews.projects()) == 1
    (tmp_path / "second.jsonl").write_text(lines_of(archive, "item", "adjudication"))
    command("project", "create", "second")
    told = json.loads(command("import", tmp_path / "second.jsonl", "--project", "second", "--json")[1])
    assert (told["items"], told["adjudications"]) == (0, 2)


def test_outcomes_are_not_reviewed_beside_their_items(command, archive, tmp_path):
    (tmp_path / "out.jsonl").write_text(lines_of(archive, "version", "item", "final"))
    assert json.loads(command("import", tmp_path / "out.jsonl", "--name", "second", "--json")[1])["items"] == 2
    (tmp_path / "only.jsonl").write_text(lines_of(archive, "final"))
    assert json.loads(command("import", tmp_path / "only.jsonl", "--name", "third", "--json")[1])["items"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("progress", "nothing"), "0 projects are called 'nothing'; there are none"),
        (("import", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
        (("project", "create", "x", "--order", "worst"), "expected one of random"),
        (("project", "create", "x", "--settings", __file__), "is not valid JSON"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(command, arguments, said):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "") and err.startswith("error: ") and said in err and err.count("\n") == 1


def test_half_a_sign_is_printed(command, tmp_path):
    store = Workspace.open(tmp_path).reviews
    said = Rationale({"half \ud83d": "x"}, 0, 2, "teacher")
    project = store.create_project(ProjectSettings("first"), [Source("data", "a", "d", "go", said)], "lead")
    judged = Judgement((PartJudgement("half \ud83d", "correct"),), "accept")
    say(store, store.items(project.id)[0].id, "ann", judged)
    assert "half \\ud83d: not defined" in command("agreement", "first")[1]
    assert json.loads(command("agreement", "first", "--json")[1])["labels"][1]["label"] == "half \ud83d"


def test_a_folder_that_is_no_workspace(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr(sys, "argv", ["analysis", "reviews", "project", "list", "--workspace", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        main()
    assert "has no workspace.toml" in capsys.readouterr().err and not (tmp_path / "none").exists()
