"""A workspace: one folder that says what belongs together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import models
from analysis.checkpoint_list import BrokenCheckpoint
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from analysis.workspace_config import SAMPLE_DATA
from models.errors import UserError
from models.types import CheckpointSpec
from tests.tiny_episode import write_tiny_episode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path, tiny_base, tiny_tuned) -> Workspace:
    write_tiny_episode(tmp_path / "data" / "a.hdf5", id="a")
    write_tiny_episode(tmp_path / "data" / "b.hdf5", id="b")
    folder = tmp_path / "ws"
    folder.mkdir()
    config = f'episodes = ["../data"]\ncheckpoints = ["{tiny_base}", "{tiny_tuned}"]\n'
    (folder / "workspace.toml").write_text(config)
    return Workspace.open(folder)


def test_a_new_workspace_points_at_the_shipped_data(tmp_path):
    opened = Workspace.open(tmp_path / "new")
    assert opened.episode_paths == (SAMPLE_DATA / "episodes",)
    assert opened.checkpoint_paths == (SAMPLE_DATA / "checkpoints",)
    assert str(tmp_path) not in (tmp_path / "new" / "workspace.toml").read_text()
    assert Workspace.open(tmp_path / "new") == opened


def test_opening_again_keeps_what_a_person_wrote(workspace):
    before = (workspace.path / "workspace.toml").read_text()
    Workspace.open(workspace.path)
    assert (workspace.path / "workspace.toml").read_text() == before


def test_episodes_are_listed_and_opened(workspace):
    (dataset,) = workspace.datasets()
    assert dataset.path == workspace.path.parent / "data" and dataset.name.endswith("/data")
    assert [meta.id for meta in workspace.episodes(dataset.name)] == ["a", "b"]
    assert workspace.episode("b").meta.id == "b"
    assert workspace.episode("b", dataset.name).meta == workspace.episode("b").meta


def test_a_new_file_is_seen_at_once(workspace):
    name = workspace.datasets()[0].name
    assert len(workspace.episodes(name)) == 2
    write_tiny_episode(workspace.path.parent / "data" / "c.hdf5", id="c")
    assert len(workspace.episodes(name)) == 3
    assert workspace.episode("c").meta.length == 6


def test_what_is_not_there_is_said(workspace):
    (workspace.path.parent / "data" / "x.hdf5").write_text("broken")
    with pytest.raises(UserError, match=r"no readable episode 'z' at .*/data; it has 2 others, such as a, b"):
        workspace.episode("z")
    with pytest.raises(UserError, match="no data set 'other'"):
        workspace.episodes("other")
    with pytest.raises(UserError, match="no usable checkpoint"):
        workspace.checkpoint("0" * 16)


def test_an_id_in_two_data_sets_needs_the_data_set(tmp_path):
    for name in ("one", "two"):
        write_tiny_episode(tmp_path / name / "e.hdf5")
    (tmp_path / "workspace.toml").write_text('episodes = ["one", "two"]')
    opened = Workspace.open(tmp_path)
    names = [dataset.name for dataset in opened.datasets()]
    with pytest.raises(UserError, match=r"each have an episode 'tiny'"):
        opened.episode("tiny")
    assert opened.episode("tiny", names[1]).meta.source == str(tmp_path / "two" / "e.hdf5")


def test_data_sets_of_the_same_name_are_told_apart(tmp_path):
    (tmp_path / "workspace.toml").write_text('episodes = ["x/a/data", "y/a/data"]')
    names = [dataset.name for dataset in Workspace.open(tmp_path).datasets()]
    assert len(set(names)) == 2 and names[0] == "a/data"


def test_a_configured_folder_that_is_missing_is_named(tmp_path):
    (tmp_path / "workspace.toml").write_text('episodes = ["nowhere"]\ncheckpoints = ["neither"]')
    opened = Workspace.open(tmp_path)
    (episode,) = opened.episodes(opened.datasets()[0].name)
    (checkpoint,) = opened.checkpoints()
    assert isinstance(episode, BrokenEpisode) and "there is nothing at" in episode.reason
    assert isinstance(checkpoint, BrokenCheckpoint) and "neither" in checkpoint.reason
    with pytest.raises(UserError, match="no episode 'a'"):
        opened.episode("a")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("episodes = [", "is not valid TOML"),
        ("episodes = 'one'", "expected a list of paths"),
        ("episodes = [1]", "expected a list of paths"),
        ("episode = []", "unknown key 'episode'"),
    ],
)
def test_a_configuration_that_cannot_be_used(tmp_path, config, sentence):
    (tmp_path / "workspace.toml").write_text(config)
    with pytest.raises(UserError, match=sentence):
        Workspace.open(tmp_path)


def test_a_file_is_no_workspace(tiny_episode):
    with pytest.raises(UserError, match="is a file; a workspace is a folder"):
        Workspace.open(tiny_episode)


def test_checkpoints_are_described(workspace, tiny_tuned):
    base, tuned = workspace.checkpoints()
    assert isinstance(base, CheckpointSpec) and isinstance(tuned, CheckpointSpec)
    assert (base.generates_rationale, tuned.generates_rationale) == (False, True)
    assert tuned == models.inspect(tiny_tuned)
    assert workspace.checkpoint(tuned.digest) == tuned


def test_a_folder_of_checkpoints_lists_each(tmp_path, tiny_base):
    (tmp_path / "all" / "notes").mkdir(parents=True)
    (tmp_path / "all" / "base").mkdir()
    for file in tiny_base.iterdir():
        (tmp_path / "all" / "base" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "all" / "outside").symlink_to(tiny_base)
    (tmp_path / "workspace.toml").write_text('checkpoints = ["all"]')
    base, notes, outside = Workspace.open(tmp_path).checkpoints()
    assert isinstance(base, CheckpointSpec)
    assert isinstance(notes, BrokenCheckpoint) and "no config.json" in notes.reason
    assert isinstance(outside, BrokenCheckpoint) and "leads out of" in outside.reason


def test_a_tokenizer_that_another_checkpoint_names_is_no_broken_one(tmp_path):
    for name in ("lent", "empty"):
        (tmp_path / "all" / name).mkdir(parents=True)
    (tmp_path / "all" / "lent" / "tokenizer.json").write_text("{}")
    (tmp_path / "workspace.toml").write_text('checkpoints = ["all"]')
    (empty,) = Workspace.open(tmp_path).checkpoints()
    assert Path(empty.path).name == "empty"


def test_digests_are_computed_once_until_a_file_changes(tmp_path, tiny_base, monkeypatch):
    (tmp_path / "workspace.toml").write_text('checkpoints = ["copy"]')
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny_base.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    read: list[str] = []
    monkeypatch.setattr("models.checkpoint.digest", lambda folder: read.append(str(folder)) or f"{len(read):016d}")
    digests = [Workspace.open(tmp_path).checkpoints()[0].digest for _ in range(3)]
    assert digests == ["0" * 15 + "1"] * 3 and len(read) == 1
    os.utime(copy / "model.safetensors", (1, 1))
    assert Workspace.open(tmp_path).checkpoints()[0].digest == "0" * 15 + "2"
    (tmp_path / "cache" / "checkpoints.json").write_text("{half")
    assert Workspace.open(tmp_path).checkpoints()[0].digest == "0" * 15 + "3"


def test_a_checkpoint_is_inspected_once_until_a_file_changes(tmp_path, tiny_base, monkeypatch):
    for name in ("good", "bad"):
        shutil.copytree(tiny_base, tmp_path / "all" / name)
    config = tmp_path / "all" / "bad" / "config.json"
    wrong = json.loads(config.read_text())
    wrong["text_config"]["num_hidden_layers"] = 10**6
    config.write_text(json.dumps(wrong))
    (tmp_path / "workspace.toml").write_text('checkpoints = ["all"]')
    looked: list[str] = []
    inspect = models.inspect
    monkeypatch.setattr(models, "inspect", lambda path, **more: looked.append(path.name) or inspect(path, **more))
    workspace = Workspace.open(tmp_path)
    first = workspace.checkpoints()
    assert isinstance(first[0], BrokenCheckpoint) and isinstance(first[1], CheckpointSpec)
    assert workspace.checkpoints() == first and looked == ["bad", "good"]
    config.write_bytes((tiny_base / "config.json").read_bytes())
    mended, good = workspace.checkpoints()
    assert isinstance(mended, CheckpointSpec) and good == first[1] and looked == ["bad", "good", "bad"]
    shutil.rmtree(tmp_path / "all" / "good")
    assert workspace.checkpoints() == (mended,)


@pytest.mark.slow
def test_listing_imports_no_torch(workspace):
    script = (
        "import sys, json; from analysis.workspace import Workspace; w = Workspace.open(sys.argv[1]);"
        "found = [len(w.episodes(d.name)) for d in w.datasets()], len(w.checkpoints());"
        "print(json.dumps([found, [m for m in ('torch', 'transformers', 'streamlit') if m in sys.modules]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(workspace.path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[[2], 2], []]


def test_shipped_episodes_can_all_be_read(tmp_path):
    opened = Workspace.open(tmp_path)
    entries = opened.episodes(opened.datasets()[0].name)
    assert len(entries) >= 24 and all(isinstance(entry, EpisodeMeta) for entry in entries)
