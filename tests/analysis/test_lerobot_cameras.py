"""LeRobot data sets that lack a camera or the end of a video: the rest of each episode stays usable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.episodes import BrokenEpisode
from analysis.episodes.lerobot import LerobotSource
from analysis.episodes.video import video_frame, video_reach
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.tiny_episode import STEPS, frame
from tests.tiny_lerobot_dataset import CAMERA, FPS, episode_entry, write_lerobot, write_video

WRIST = "observation.images.wrist"


def add_wrist(root: Path) -> Path:
    """A second camera with the same videos, in version 2.1 or 3.0."""
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][WRIST] = info["features"][CAMERA]
    (root / "meta/info.json").write_text(json.dumps(info))
    for folder in [path for path in root.glob("videos/**") if path.name == CAMERA]:
        shutil.copytree(folder, folder.with_name(WRIST))
    listed = root / "meta/episodes/chunk-000/file-000.parquet"
    if listed.exists():
        entries = [episode_entry(number) for number in range(2)]
        for entry in entries:
            entry |= {key.replace(CAMERA, WRIST): value for key, value in entry.items() if CAMERA in key}
        pq.write_table(pa.Table.from_pylist(entries), listed)
    return root


def metas_and_problems(root: Path) -> tuple[list[EpisodeMeta], list[str]]:
    """What is listed; each episode is opened and stepped through as well, and has the same description then."""
    entries = list(LerobotSource(root).scan())
    metas = [entry for entry in entries if isinstance(entry, EpisodeMeta)]
    for meta in metas:
        episode = LerobotSource(root).open(meta.id)
        assert episode.meta == meta
        for step in range(meta.length):
            assert set(episode.step(step).observation.images) == set(meta.cameras)
    return metas, [entry.reason for entry in entries if isinstance(entry, BrokenEpisode)]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_an_absent_camera_is_left_out(tmp_path, version):
    root = add_wrist(write_lerobot(tmp_path, version))
    complete, problems = metas_and_problems(root)
    assert [meta.cameras for meta in complete] == [("top", "wrist")] * 2 and not problems
    for folder in [path for path in root.glob("videos/**") if path.name == WRIST]:
        shutil.rmtree(folder)
    metas, (problem,) = metas_and_problems(root)
    assert [meta.cameras for meta in metas] == [("top",)] * 2
    assert all("is missing" in meta.extra["cameras, left out"] for meta in metas)
    assert problem.startswith("camera 'wrist' is left out in 2 of 2 episodes, which can be used without; the first: ")
    assert f"videos/{WRIST}/chunk-000" in problem or f"videos/chunk-000/{WRIST}" in problem
    assert not {meta.digest for meta in metas} & {meta.digest for meta in complete}


def test_a_camera_that_only_one_episode_lacks(tmp_path):
    root = add_wrist(write_lerobot(tmp_path, "v2.1"))
    (root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").write_bytes(b"")
    metas, (problem,) = metas_and_problems(root)
    assert [meta.cameras for meta in metas] == [("top", "wrist"), ("wrist",)]
    assert "camera 'top' is left out in 1 of 2 episodes" in problem and "is empty" in problem


def test_an_episode_without_any_camera_is_refused(tmp_path):
    root = add_wrist(write_lerobot(tmp_path, "v2.1"))
    shutil.rmtree(root / "videos")
    metas, problems = metas_and_problems(root)
    assert not metas and len(problems) == 2 and all("is missing" in problem for problem in problems)


@pytest.fixture
def front(tmp_path: Path) -> Path:
    """The video of a version 3.0 data set of two episodes, with its index before the frames."""
    root = write_lerobot(tmp_path, "v3.0")
    path = root / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    return write_video(path, [frame(step) for _ in range(2) for step in range(STEPS)], index_first=True)


def test_a_video_without_its_tail_serves_the_episodes_before(front, tmp_path):
    front.write_bytes(front.read_bytes()[:-10])
    (meta,), (problem,) = metas_and_problems(tmp_path)
    assert meta.id == "episode_000000"
    assert problem.startswith("episode_000001: file-000.mp4 is cut short or damaged")
    with pytest.raises(UserError, match="cut short"):
        LerobotSource(tmp_path).open("episode_000001")


def test_a_video_without_its_index_serves_none(front, tmp_path):
    front.write_bytes(front.read_bytes()[:100])
    metas, problems = metas_and_problems(tmp_path)
    assert not metas and all("cut short or damaged" in problem for problem in problems)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99])
def test_all_frames_before_the_reach_can_be_decoded(front, tmp_path, share):
    whole = front.read_bytes()
    assert video_reach(front, (len(whole), 0)) == np.inf
    front.write_bytes(whole[: int(len(whole) * share)])
    reach = video_reach(front, (front.stat().st_size, 0))
    assert reach < 2 * STEPS / FPS
    for number in range(int(np.ceil(reach * FPS - 1e-6))):
        shown = video_frame(front, number / FPS, FPS, f"frame {number}").astype(int)
        assert np.abs(shown - frame(number % STEPS)).mean() < 6
