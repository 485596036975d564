"""LeRobot data sets of versions 2.0 to 3.1 that are as they should be."""

from __future__ import annotations

import json
import os

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.episodes import BrokenEpisode
from analysis.episodes.lerobot import LerobotSource
from analysis.episodes.lerobot_language import LanguageRow, combined
from models.types import Rationale
from tests.tiny_episode import ACTION_NAMES, STATE_NAMES, STEPS, action, frame
from tests.tiny_lerobot_dataset import (
    CAMERA,
    FPS,
    PERSISTENT,
    TASKS,
    episode_entry,
    png,
    write_lerobot,
    write_video,
)

LAYOUTS = [(version, images) for version in ("v2.0", "v2.1", "v3.0") for images in ("video", "image")]


@pytest.fixture(params=LAYOUTS, ids=lambda layout: "-".join(layout))
def source(request, tmp_path) -> LerobotSource:
    version, images = request.param
    return LerobotSource(write_lerobot(tmp_path, version, images=images))


def test_what_the_list_shows(source):
    first, second = source.scan()
    assert (first.id, second.id) == ("episode_000000", "episode_000001")
    assert (first.instruction, second.instruction) == TASKS
    assert (first.length, first.fps, first.robot, first.cameras) == (STEPS, FPS, "widowx", ("top",))
    assert (first.action_names, first.state_names) == (ACTION_NAMES, STATE_NAMES)
    assert (first.success, second.success) == (True, False)
    assert first.digest != second.digest


@pytest.mark.slow
def test_rows_are_those_of_the_episode(source):
    for number, meta in enumerate(source.scan()):
        episode = source.open(meta.id)
        assert episode.meta == meta
        np.testing.assert_array_equal(episode.actions, [action(step) + number for step in range(STEPS)])
        np.testing.assert_array_equal(episode.states, [[step] * 7 for step in range(STEPS)])


@pytest.mark.slow
def test_frames_are_those_of_the_step(source):
    for meta in source.scan():
        episode = source.open(meta.id)
        for step in (5, 0, 3, 1, 2, 4):
            shown = episode.frame("top", step).astype(int)
            assert np.abs(shown - frame(step)).mean() < 6
            assert np.argmax(shown[20, :, 0] > 128) == pytest.approx(8 * step, abs=1)


def test_stored_images_are_passed_on(tmp_path):
    source = LerobotSource(write_lerobot(tmp_path, "v3.0", images="image"))
    assert source.open("episode_000001").encoded_frame("top", 4) == (png(frame(4)), "image/png")


def test_stored_images_may_lie_beside(tmp_path):
    (tmp_path / "images").mkdir()
    for step in range(STEPS):
        (tmp_path / f"images/{step}.png").write_bytes(png(frame(step)))
    column = [{"bytes": None, "path": f"images/{step}.png"} for step in range(STEPS)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    root = write_lerobot(tmp_path, "v2.1", images="image", values={CAMERA: pa.array(column, kind)})
    np.testing.assert_array_equal(LerobotSource(root).open("episode_000000").frame("top", 2), frame(2))


def test_language_rows_become_rationales(tmp_path):
    source = LerobotSource(write_lerobot(tmp_path, "v3.1", language=True))
    first, second = source.scan()
    assert (first.has_rationale, second.has_rationale) == (True, False)
    held = {"plan": "reach, then lift", "subtask": "reach"}
    said = {"vqa question @ top": "where is the block?", "vqa @ top": "left", "speech": "on my way"}
    assert source.open(first.id).rationales == (
        Rationale(held, 0, 2),
        Rationale(held | said, 2, 3),
        Rationale(held | {"subtask": "lift"}, 3, STEPS),
    )
    assert source.open(second.id).rationales == ()


@pytest.mark.parametrize("empty", [[[]] * STEPS, [None] * STEPS])
def test_language_columns_without_a_row_have_no_type(tmp_path, empty):
    """LeRobot's own annotator lets pyarrow infer the types, and it infers null where there is nothing to see."""
    none = pa.array(empty)
    values = {"language_events": none, "language_persistent": pa.array([PERSISTENT] * STEPS)}
    source = LerobotSource(write_lerobot(tmp_path / "some", "v2.1", language=True, values=values))
    assert [meta.has_rationale for meta in source.scan()] == [True, True]
    assert [said.parts["subtask"] for said in source.open("episode_000000").rationales] == ["reach", "lift"]
    values = dict.fromkeys(("language_events", "language_persistent"), none)
    source = LerobotSource(write_lerobot(tmp_path / "none", "v2.1", language=True, values=values))
    assert [meta.has_rationale for meta in source.scan()] == [False, False]
    assert source.open("episode_000000").rationales == ()


def test_language_columns_on_an_old_layout(tmp_path):
    source = LerobotSource(write_lerobot(tmp_path, "v2.1", language=True))
    assert [meta.has_rationale for meta in source.scan()] == [True, False]
    assert len(source.open("episode_000000").rationales) == 3


def test_rationales_leave_gaps_and_join_what_is_said_at_once():
    rows = [LanguageRow("subtask", "reach", 2, True), LanguageRow("remark", "a", 4, False)]
    rows.append(LanguageRow("remark", "b", 4, False))
    assert list(combined(rows, 6)) == [
        Rationale({"subtask": "reach"}, 2, 4),
        Rationale({"subtask": "reach", "remark": "a\nb"}, 4, 5),
        Rationale({"subtask": "reach"}, 5, 6),
    ]


def test_several_tasks_and_names_in_other_forms(tmp_path):
    root = write_lerobot(tmp_path, "v2.1")
    line = {"episode_index": 0, "tasks": [1, "and then rest"], "length": STEPS}
    (root / "meta/episodes.jsonl").write_text(json.dumps(line) + "\n")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["action"]["names"] = {f"joint {n}": n for n in reversed(range(7))}
    info["features"]["observation.state"]["names"] = None
    (root / "meta/info.json").write_text(json.dumps(info))
    (meta,) = LerobotSource(root).scan()
    assert (meta.instruction, meta.extra["other tasks"]) == (TASKS[1], "and then rest")
    assert meta.action_names == tuple(f"joint {n}" for n in range(7))
    assert meta.state_names == tuple(f"state_{n}" for n in range(7))


def test_actions_in_several_columns(tmp_path):
    rows = [[1.0, 2.0]] * STEPS
    values = {"action.arm": pa.array(rows, pa.list_(pa.float64())), "action.gripper": [3.0] * STEPS}
    root = write_lerobot(tmp_path, "v2.1", values=values)
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["action"]
    info["features"] |= {"action.arm": {"dtype": "float64", "shape": [2], "names": ["a", "b"]}}
    info["features"] |= {"action.gripper": {"dtype": "float32", "shape": [1], "names": None}}
    (root / "meta/info.json").write_text(json.dumps(info))
    episode = LerobotSource(root).open("episode_000000")
    assert episode.meta.action_names == ("a", "b", "gripper")
    np.testing.assert_array_equal(episode.actions, [[1, 2, 3]] * STEPS)


def test_one_row_group_of_many_episodes(tmp_path):
    root = write_lerobot(tmp_path, "v3.0")
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path), path, write_statistics=False)
    source = LerobotSource(root)
    assert [source.open(meta.id).actions[0, 0] for meta in source.scan()] == [0, 1]


def test_the_digest_follows_the_data(tmp_path):
    root = write_lerobot(tmp_path, "v2.1")
    before = [meta.digest for meta in LerobotSource(root).scan()]
    write_video(root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4", [frame(5 - n) for n in range(STEPS)])
    after = [meta.digest for meta in LerobotSource(root).scan()]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    path = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(path)
    turned = pa.array([-row for row in table["action"].to_numpy()], pa.list_(pa.float32(), 7))
    pq.write_table(table.set_column(0, "action", turned), path)
    assert [meta.digest for meta in LerobotSource(root).scan()][1] != after[1]


def test_a_copy_has_the_same_digest(tmp_path):
    one, two = (LerobotSource(write_lerobot(tmp_path / name, "v3.0")) for name in ("one", "two"))
    os.utime(two.root / "data/chunk-000/file-000.parquet", (0, 0))
    assert [meta.digest for meta in one.scan()] == [meta.digest for meta in two.scan()]


def test_the_list_is_read_again_when_it_changes(tmp_path):
    source = LerobotSource(write_lerobot(tmp_path, "v3.0"))
    assert source.open("episode_000000").meta.instruction == TASKS[0]
    entries = [episode_entry(0, tasks=["wave"]), episode_entry(1)]
    pq.write_table(pa.Table.from_pylist(entries), source.root / "meta/episodes/chunk-000/file-000.parquet")
    assert source.open("episode_000000").meta.instruction == "wave"


@pytest.mark.slow
def test_real_bridge_video(shared_data):
    root = shared_data / "episodes/lerobot_v30_bridge_video"
    truth = json.loads((root.parent / "lerobot_v30_truth.json").read_text())["video"]
    source = LerobotSource(root)
    metas = list(source.scan())
    assert [(meta.instruction, meta.length) for meta in metas] == [(one["task"], one["n"]) for one in truth]
    for number, (meta, one) in enumerate(zip(metas, truth, strict=True)):
        episode = source.open(meta.id)
        np.testing.assert_array_equal(episode.actions, np.array(one["action"], np.float32))
        for camera in meta.cameras:
            file = root / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
            with av.open(str(file)) as container:
                played = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
            for step in (9, 4, 0):
                np.testing.assert_array_equal(episode.frame(camera, step), played[10 * number + step])


def test_real_partial_download(shared_data):
    source = LerobotSource(shared_data / "episodes/lerobot_v21_g1_partial")
    entries = list(source.scan())
    broken = [entry for entry in entries if isinstance(entry, BrokenEpisode)]
    good = [entry for entry in entries if not isinstance(entry, BrokenEpisode)]
    assert [meta.id for meta in good] == ["episode_000029", "episode_000030"]
    assert len(broken) == 98
    assert "data/chunk-000/episode_000000.parquet is missing" in broken[0].reason
    episode = source.open("episode_000030")
    assert (episode.actions.shape, episode.meta.action_names[0]) == ((277, 26), "kLeftShoulderPitch")
    assert episode.frame("cam_high", 276).shape == (480, 640, 3)


def test_real_lfs_pointers(shared_data):
    entries = list(LerobotSource(shared_data / "episodes/lfs_pointers_lerobot_v21").scan())
    assert len(entries) == 5
    assert all(isinstance(entry, BrokenEpisode) and "Git LFS pointer" in entry.reason for entry in entries)
