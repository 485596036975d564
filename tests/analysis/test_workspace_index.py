"""The workspace's index: filled once, brought up to date where files changed, joined with annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.catalogue import Filter
from analysis.episodes import BrokenEpisode
from analysis.episodes.hdf5 import Hdf5Source
from analysis.export import export_episodes
from analysis.workspace import Workspace
from tests import tiny_ecot
from tests.tiny_episode import write_tiny_episode
from tests.tiny_image_folder import write_image_folder
from tests.tiny_lerobot_dataset import write_lerobot
from tests.tiny_rlds import write_bridge


def workspace(folder: Path, text: str) -> Workspace:
    (folder / "ws").mkdir(exist_ok=True)
    (folder / "ws" / "workspace.toml").write_text(text)
    return Workspace.open(folder / "ws")


@pytest.fixture
def two(tmp_path: Path) -> Workspace:
    for name in ("one", "two"):
        for letter in "ab":
            write_tiny_episode(tmp_path / name / f"{letter}.hdf5", id=f"{name}-{letter}")
    return workspace(tmp_path, 'episodes = ["../one", "../two"]\n')


@pytest.mark.slow
def test_only_what_changed_is_scanned(two, tmp_path):
    one, other = (dataset.name for dataset in two.datasets())
    assert two.update_index().changed == (one, other)
    assert two.update_index().changed == ()
    write_tiny_episode(tmp_path / "two" / "c.hdf5", id="two-c")
    told = []
    assert two.update_index(told.append).changed == (other,)
    assert told[-1].what == other and told[-1].done == 3
    assert two.index.query().total == 5


@pytest.mark.slow
def test_a_data_set_that_is_gone_is_forgotten_and_a_missing_one_named(two, tmp_path):
    two.update_index()
    changed = workspace(tmp_path, 'episodes = ["../one", "../nowhere"]\n')
    changed.update_index()
    good, broken = (changed.index.query(Filter(broken=state)).entries for state in (False, True))
    assert len(good) == 2
    (missing,) = broken
    assert isinstance(missing.entry, BrokenEpisode) and missing.entry.reason.startswith("there is nothing at")


@pytest.mark.slow
def test_cancelled_updates_begin_again(two):
    assert not two.update_index(cancelled=lambda: True).complete
    assert two.update_index().complete and two.index.query().total == 4


@pytest.mark.slow
def test_an_indexed_episode_opens_without_a_scan(two, monkeypatch):
    two.update_index()
    fresh = Workspace.open(two.path)
    monkeypatch.setattr(Hdf5Source, "scan", lambda self: pytest.fail("the folder was listed"))
    assert fresh.episode("two-b").meta.id == "two-b"
    assert fresh.episode("one-a", fresh.datasets()[0].name).meta.id == "one-a"


@pytest.mark.slow
def test_an_index_that_is_behind_misleads_nobody(two, tmp_path):
    two.update_index()
    (tmp_path / "one" / "a.hdf5").unlink()
    write_tiny_episode(tmp_path / "one" / "moved.hdf5", id="one-a")
    assert Workspace.open(two.path).episode("one-a").meta.source.endswith("moved.hdf5")
    write_tiny_episode(tmp_path / "one" / "b.hdf5", id="another")
    name = two.datasets()[0].name
    with pytest.raises(Exception, match="no readable episode 'one-b'"):
        Workspace.open(two.path).episode("one-b", name)


def annotated(folder: Path) -> Workspace:
    write_bridge(folder)
    content = {"/data/1/out.npy": {"1": tiny_ecot.episode(1)}}
    (folder / "ecot.json").write_text(json.dumps(content))
    return workspace(folder, 'episodes = ["../bridge_dataset/1.0.0"]\nannotations = ["../ecot.json"]\n')


@pytest.mark.slow
def test_annotations_are_joined_wherever_an_episode_flows(tmp_path):
    opened = annotated(tmp_path)
    (dataset,) = opened.datasets()
    assert not opened.episode("train/1").rationales, "they have not been read yet"
    told = []
    assert opened.update_index(told.append).complete
    assert any(one.what == "ecot.json" and one.done == one.total for one in told)
    assert [one.entry.id for one in opened.index.query(Filter(has_rationale=True)).entries] == ["train/1"]
    episode = opened.episode("train/1")
    assert episode.meta.has_rationale and episode.rationales[0].parts["subtask"] == "Reach for the carrot"
    assert [thing.name for thing in episode.step(2).objects["image_0"]] == ["carrot", "plate"]
    assert not opened.episode("train/0").rationales
    assert opened.update_index().changed == ()
    # exported and opened beside the same annotations, nothing is there twice
    export_episodes(opened.source(dataset.name), tmp_path / "out", "hdf5")
    again = workspace(tmp_path, 'episodes = ["../out"]\nannotations = ["../ecot.json"]\n')
    again.update_index()
    assert again.episode("train/1").rationales == episode.rationales
    assert len(again.episode("train/1").step(2).objects["image_0"]) == 2


def test_annotations_that_cannot_be_used_are_named_and_the_rest_is_not_harmed(tmp_path):
    opened = annotated(tmp_path)
    (tmp_path / "ecot.json").write_text('{"a": ')
    done = opened.update_index()
    (problem,) = done.problems
    assert "cut short" in problem.reason and done.complete
    assert opened.index.query().total == 2 and opened.episode("train/1").meta.length == 6


@pytest.mark.slow
def test_everything_that_is_wrong_is_listed_and_the_rest_stays_usable(tmp_path):
    """Kinds of damage side by side, as the catalogue names them; each source's own tests go deeper."""
    whole = write_tiny_episode(tmp_path / "own" / "good.hdf5", id="good")
    write_tiny_episode(tmp_path / "own" / "twin.hdf5", id="good")
    write_tiny_episode(tmp_path / "elsewhere.hdf5", id="outside")
    (tmp_path / "own" / "linked.hdf5").symlink_to(tmp_path / "elsewhere.hdf5")
    (tmp_path / "own" / "partial.hdf5").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "own" / "pointer.hdf5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    shards = [write_bridge(tmp_path / name, {"train": [2, 2]}) for name in ("flipped", "cut", "missing")]
    first = [sorted(shard.glob("*.tfrecord*"))[0] for shard in shards]
    data = bytearray(first[0].read_bytes())
    data[len(data) // 4] ^= 0xFF
    first[0].write_bytes(data)
    first[1].write_bytes(first[1].read_bytes()[:-40])
    first[2].unlink()
    video = write_lerobot(tmp_path / "video", version="v2.1")
    next(iter(sorted(video.rglob("*.mp4")))).unlink()
    (tmp_path / "images" / "good").mkdir(parents=True)
    write_image_folder(tmp_path / "images" / "good")
    write_image_folder(tmp_path / "images" / "huge")
    with (tmp_path / "images" / "huge" / "episode.json").open("wb") as stream:
        stream.truncate(10 << 30)  # a hole: no disk is used
    names = ["own", "flipped", "cut", "missing", "video", "images"]
    opened = workspace(tmp_path, f"episodes = {[f'../{name}' for name in names]}\n")
    opened.update_index()
    by_name = {entry.path.name: entry.name for entry in opened.datasets()}
    said = {
        name: " | ".join(
            one.entry.reason
            for one in opened.index.query(Filter(datasets=(by_name[name],), broken=True)).entries
            if isinstance(one.entry, BrokenEpisode)
        )
        for name in names
    }
    expected = {
        "own": ["ids are unique", "partial.hdf5", "LFS", "link that leads out"],
        "flipped": ["record"],
        "cut": ["cut short"],
        "missing": ["not there"],
        "video": ["mp4"],
        "images": ["bytes"],
    }
    for name, words in expected.items():
        assert all(word in said[name] for word in words), (name, said[name])
        good = opened.index.query(Filter(datasets=(by_name[name],), broken=False)).entries
        assert good, f"nothing of {name} is usable"
        opened.episode(good[0].entry.id, by_name[name])  # type: ignore[union-attr]
