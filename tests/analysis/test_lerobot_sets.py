"""Folders of several LeRobot data sets, as LeRobot's own cache has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.hdf5 import Hdf5Source
from analysis.episodes.lerobot import LerobotSource
from analysis.episodes.lerobot_sets import LerobotSets
from models.errors import UserError
from tests.tiny_episode import write_tiny_episode
from tests.tiny_lerobot_dataset import write_lerobot

IDS = ["episode_000000", "episode_000001"]


def ids(root: Path) -> list[str]:
    return [entry.path if isinstance(entry, BrokenEpisode) else entry.id for entry in open_source(root).scan()]


@pytest.mark.parametrize("names", [("one", "two"), ("user/one", "user/two"), ("a/set", "b/set")])
def test_several_data_sets_are_told_apart_by_their_folders(tmp_path, names):
    for name in names:
        write_lerobot(tmp_path / name, "v3.0", images="image")
    assert ids(tmp_path) == [f"{name}/{id}" for name in names for id in IDS]
    episode = open_source(tmp_path).open(f"{names[1]}/episode_000001")
    assert episode.meta.id == f"{names[1]}/episode_000001"
    assert episode.meta.source.startswith(str(tmp_path / names[1]))


def test_one_data_set_keeps_its_ids(tmp_path):
    write_lerobot(tmp_path / "user/one", "v3.0", images="image")
    assert ids(tmp_path) == IDS
    assert open_source(tmp_path).open(IDS[0]).meta.id == IDS[0]


def test_a_broken_data_set_hides_no_other(tmp_path):
    for name in ("one", "two"):
        write_lerobot(tmp_path / name, "v3.0", images="image")
    (tmp_path / "one/meta/info.json").write_text('{"codebase_version": "v1.6"}')
    broken, *good = open_source(tmp_path).scan()
    assert isinstance(broken, BrokenEpisode) and broken.path == str(tmp_path / "one/meta/info.json")
    assert [entry.id for entry in good] == [f"two/{id}" for id in IDS]


def test_an_id_of_no_data_set_is_refused(tmp_path):
    for name in ("one", "two"):
        write_lerobot(tmp_path / name, "v3.0", images="image")
    with pytest.raises(UserError, match="ids there begin with one/, two/"):
        open_source(tmp_path).open("episode_000000")


def test_links_that_lead_out_are_not_entered(tmp_path):
    outside = write_lerobot(tmp_path / "outside", "v3.0", images="image")
    for folder in ("folder", "meta/set/", "info/set/meta"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "folder/set").symlink_to(outside)
    (tmp_path / "meta/set/meta").symlink_to(outside / "meta")
    (tmp_path / "info/set/meta/info.json").symlink_to(outside / "meta/info.json")
    for name in ("folder", "meta", "info"):
        assert not LerobotSets.handles(tmp_path / name)


def test_what_lies_deeper_is_not_looked_for(tmp_path):
    write_lerobot(tmp_path / "a/b/c", "v3.0", images="image")
    assert not LerobotSets.handles(tmp_path)


def test_other_formats_come_first(tmp_path):
    write_lerobot(tmp_path / "set", "v3.0", images="image")
    write_tiny_episode(tmp_path / "first.hdf5", id="first")
    assert isinstance(open_source(tmp_path), Hdf5Source)
    assert isinstance(open_source(tmp_path / "set"), LerobotSource)
