"""Corrections of a data set: read, written, refused with a sentence, and applied to what is listed and opened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.commands.options import Opening, for_episodes, open_episode
from analysis.dataset_description import (
    DatasetDescription,
    as_toml,
    described,
    description_path,
    read_description,
    write_description,
)
from analysis.episodes import BrokenEpisode
from analysis.export import export_episodes
from analysis.running import Running
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from models.errors import UserError
from tests.tiny_checkpoints import write_action_token_paligemma
from tests.tiny_episode import ACTION_NAMES, write_tiny_episode

NAMES = ("dx", "dy", "dz", "r", "p", "y", "open")


@pytest.fixture
def opened(tmp_path: Path) -> Workspace:
    write_tiny_episode(tmp_path / "data" / "tiny.hdf5")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "workspace.toml").write_text('episodes = ["../data"]\n')
    return Workspace.open(tmp_path / "ws")


def only(workspace: Workspace) -> str:
    (dataset,) = workspace.datasets()
    return dataset.name


def test_what_is_written_is_read_again(tmp_path):
    whole = DatasetDescription(
        fps=12.5,
        robot='the "blue" one \\ä',
        action_stats="bridge_orig",
        action_names=NAMES,
        action_units=("m",) * 7,
        state_names=("a", "b"),
        state_units=("", "rad"),
        cameras={"image_0": "over the shoulder", "weird.name]": "wrist"},
    )
    path = tmp_path / "deep" / "one.toml"
    write_description(path, whole)
    assert read_description(path) == whole
    write_description(path, DatasetDescription())
    assert not path.exists() and read_description(path) == DatasetDescription()


lines = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)


@pytest.mark.slow
@given(st.lists(lines, unique=True), st.dictionaries(lines, lines), lines)
def test_any_printable_text_survives(names, cameras, robot):
    import tomllib

    unique = {stored: f"{name}{place}" for place, (stored, name) in enumerate(cameras.items())}
    unique = {stored: name for stored, name in unique.items() if stored != name}
    whole = DatasetDescription(robot=robot, action_names=tuple(names), cameras=unique)
    assert described(tomllib.loads(as_toml(whole)), "here") == whole


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fps = [", "is not valid TOML"),
        ("rate = 5", "unknown key 'rate'; it knows fps"),
        ("fps = 0", "expected frames a second, more than 0"),
        ("fps = true", "expected frames a second"),
        ("fps = nan", "expected frames a second"),
        ('fps = "5"', "expected frames a second"),
        ("robot = 3", "'robot' is '3'; expected a text on one line"),
        ('robot = "a\\nb"', "expected a text on one line"),
        ('action_names = "x"', "expected a list of texts"),
        ('action_names = ["x", 3]', "expected a list of texts"),
        ('action_names = ["x", ""]', "entry 2 of 'action_names' is empty"),
        ('action_names = ["x", "x"]', "has 'x' twice"),
        ('state_names = ["x"]\nstate_units = ["m", "m"]', "'state_names' has 1 entries and 'state_units' 2"),
        ('cameras = ["a"]', "expected a table"),
        ("[cameras]\na = 1", "expected a table"),
        ('[cameras]\na = "c"\nb = "c"', "gives the name 'c' twice"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, sentence):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_description(path)
    assert sentence in str(caught.value) and "x.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/a/b", "..", "", "a/./b", "s3://bucket/x", "a\0b", "..\\x"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    path = description_path(tmp_path / "datasets", name)
    assert path.resolve().is_relative_to((tmp_path / "datasets").resolve()) and path.suffix == ".toml"


@pytest.mark.slow
def test_applied_to_everything_that_is_listed_and_opened(opened, tmp_path):
    name = only(opened)
    opened.describe(
        name,
        DatasetDescription(
            fps=10.0, robot="arm", action_stats="mine", action_names=NAMES, cameras={"shoulder": "front"}
        ),
    )
    episode = opened.episode("tiny")
    (listed,) = opened.episodes(name)
    opened.update_index()
    (indexed,) = opened.index.query().entries
    assert episode.meta == listed == indexed.entry
    assert (listed.fps, listed.robot, listed.cameras) == (10.0, "arm", ("front",))
    assert listed.action_names == NAMES and listed.extra["action_stats"] == "mine"
    step = episode.step(3)
    assert list(step.observation.images) == ["front"] and list(step.objects) == ["front"]
    assert step.time == pytest.approx(0.3)
    assert (episode.frame("front", 2) == step.observation.images["front"]).sum() and episode.encoded_frame("front", 0)
    with pytest.raises(UserError, match="no camera 'shoulder'; its cameras are front"):
        episode.frame("shoulder", 0)
    export_episodes(opened.source(name), tmp_path / "out", "hdf5")
    exported = Workspace.open(opened.path).episode("tiny")
    assert exported.meta.cameras == ("front",)


def test_what_does_not_fit_is_left_out_and_named(opened):
    name = only(opened)
    text = 'fps = 8\naction_names = ["x", "y"]\n[cameras]\nfrontal = "f"\n'
    opened.description_path(name).parent.mkdir(parents=True)
    opened.description_path(name).write_text(text)
    entries = opened.episodes(name)
    (meta,) = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
    said = [entry.reason for entry in entries if isinstance(entry, BrokenEpisode)]
    assert meta.fps == 8 and meta.action_names == ACTION_NAMES and meta.cameras == ("shoulder",)
    assert any("'action_names' has 2 entries and the actions have 7 dimensions in 1 episode" in one for one in said)
    assert any("names 'frontal', which no episode has; they have shoulder" in one for one in said)
    assert opened.episode("tiny").meta.action_names == ACTION_NAMES


def test_an_unusable_file_is_named_and_the_data_stay_usable(opened):
    name = only(opened)
    opened.description_path(name).parent.mkdir(parents=True)
    opened.description_path(name).write_text("fps = -1")
    broken, meta = opened.episodes(name)
    assert isinstance(broken, BrokenEpisode) and "more than 0; it is not applied" in broken.reason
    assert isinstance(meta, EpisodeMeta) and opened.episode("tiny").meta.fps == 5
    with pytest.raises(UserError, match="more than 0"):
        opened.description(name)


def test_two_cameras_never_share_a_name(tmp_path):
    meta = EpisodeMeta("e", "e", "", 3, 5.0, ("a", "b"), None)
    described = DatasetDescription(cameras={"a": "b"})
    assert described.applied(meta).cameras == ("a", "b")
    assert "same name" in described.misfits(meta)["cameras"]
    assert DatasetDescription(cameras={"a": "b", "b": "a"}).applied(meta).cameras == ("b", "a")


@pytest.mark.slow
def test_the_command_line_knows_what_the_workspace_knows(opened, capsys):
    from analysis.__main__ import app

    opened.describe(only(opened), DatasetDescription(fps=10.0, action_names=NAMES))
    for command in (
        ["index", str(opened.path), "--json"],
        ["info", *at(opened, "data")],
        ["info", *at(opened, "data/tiny.hdf5")],
    ):
        app(command, standalone_mode=False)
    indexed, folder, file = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert indexed["datasets"][0]["episodes"] == 1 and indexed["datasets"][0]["scanned"]
    for told in (folder, file):
        assert told["episodes"][0]["fps"] == 10.0 and told["episodes"][0]["action_names"] == list(NAMES)
    app(["info", str(opened.path.parent / "data"), "--json", "--workspace", "nowhere"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["episodes"][0]["fps"] == 5.0


def at(workspace: Workspace, path: str) -> list[str]:
    return [str(workspace.path.parent / path), "--workspace", str(workspace.path), "--json"]


@pytest.mark.slow
def test_the_normalisation_key_is_chosen_where_it_is_a_choice(opened, tmp_path):
    opened.describe(only(opened), DatasetDescription(action_stats="fractal"))
    episode = open_episode(opened.path.parent / "data", "tiny", opened.path)
    undescribed = open_episode(opened.path.parent / "data", "tiny", tmp_path / "nowhere")
    for keys, chosen in ((("bridge", "fractal"), "fractal"), (("bridge", "other"), None), (("fractal",), None)):
        checkpoint = write_action_token_paligemma(
            tmp_path / "-".join(keys), rationale=False, name="c", norm_stats=keys, image_size=64, layers=1
        )
        opening = Opening(checkpoint, None, None, None, Running())
        assert for_episodes(opening, episode, episode).action_stats == chosen
        assert for_episodes(opening, episode, undescribed).action_stats is None, "they do not agree"
        named = Opening(checkpoint, "given", None, None, Running())
        assert for_episodes(named, episode).action_stats == "given", "what is named goes first"
