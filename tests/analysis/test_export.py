"""Exports read back by our own readers; a round trip loses nothing."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis.export.lerobot as lerobot_export
from analysis.__main__ import main
from analysis.episodes import BrokenEpisode, open_source
from analysis.episodes.lerobot_kept import FROM
from analysis.episodes.source import EpisodeSource
from analysis.export import export_episodes
from analysis.types import Episode, EpisodeMeta, SceneObject
from models.errors import UserError
from models.types import Rationale
from tests.tiny_episode import STEPS, frame, write_tiny_episode
from tests.tiny_rlds import write_bridge

SAMPLES = Path(__file__).parents[2] / "sample_data" / "episodes"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two episodes: one with all that our format knows, one without success, truth and rationales."""
    root = tmp_path / "two"
    write_tiny_episode(root / "a.hdf5", id="a/set")
    bare = {"success": None, "truth": None, "positions": None, "phases": None, "rationales": (), "attributes": None}
    write_tiny_episode(root / "b.hdf5", id="b", instruction="öffne die Schublade", task="", **bare)
    return root


def described(meta: EpisodeMeta) -> EpisodeMeta:
    """Without what cannot stay the same: where it lies and the digest of the bytes there."""
    extra = {key: value for key, value in meta.extra.items() if key != FROM}
    return replace(meta, source="", digest="", extra=extra)


def same_things(found: Mapping[str, tuple[SceneObject, ...]], wanted: Mapping[str, tuple[SceneObject, ...]]) -> None:
    assert {camera: len(seen) for camera, seen in found.items()} == {
        camera: len(seen) for camera, seen in wanted.items()
    }
    for camera, seen in wanted.items():
        for one, other in zip(found[camera], seen, strict=True):
            assert (one.name, one.box) == (other.name, other.box)
            for given, expected in ((one.position, other.position), (one.mask, other.mask)):
                assert (given is None) == (expected is None)
                assert expected is None or np.array_equal(given, expected)


def same_episode(found: Episode, wanted: Episode) -> None:
    assert described(found.meta) == described(wanted.meta)
    assert np.array_equal(found.actions, wanted.actions)
    assert (found.states is None) == (wanted.states is None)
    assert wanted.states is None or np.array_equal(found.states, wanted.states)
    assert found.rationales == wanted.rationales
    for index in range(wanted.meta.length):
        for camera in wanted.meta.cameras:
            assert found.encoded_frame(camera, index) == wanted.encoded_frame(camera, index)
        one, other = found.step(index), wanted.step(index)
        assert (one.phase, one.time) == (other.phase, other.time)
        same_things(one.objects, other.objects)


def same_source(found: EpisodeSource, wanted: EpisodeSource) -> None:
    ids = [entry.id for entry in wanted.scan() if isinstance(entry, EpisodeMeta)]
    listed = list(found.scan())
    assert [entry.id for entry in listed if isinstance(entry, EpisodeMeta)] == ids
    for entry in listed:
        opened = found.open(entry.id)
        assert opened.meta == entry
        same_episode(opened, wanted.open(entry.id))


@pytest.mark.slow
def test_to_lerobot_and_back_loses_nothing(two, tmp_path):
    told = export_episodes(open_source(two), tmp_path / "lerobot", "lerobot")
    assert (told.episodes, told.steps, told.skipped) == (2, 2 * STEPS, ())
    same_source(open_source(tmp_path / "lerobot"), open_source(two))
    export_episodes(open_source(tmp_path / "lerobot"), tmp_path / "back", "hdf5")
    same_source(open_source(tmp_path / "back"), open_source(two))
    again = open_source(tmp_path / "back").open("a/set").meta
    assert again.extra[FROM] == open_source(tmp_path / "lerobot").open("a/set").meta.digest


@pytest.mark.slow
def test_the_shipped_episodes_survive_the_round_trip(tmp_path):
    source, ids = open_source(SAMPLES), ["carrot-on-plate-0", "stack-blocks-3"]
    ids = [entry.id for entry in source.scan() if isinstance(entry, EpisodeMeta) and Path(entry.source).stem in ids]
    assert len(ids) == 2
    export_episodes(source, tmp_path / "lerobot", "lerobot", ids=ids)
    export_episodes(open_source(tmp_path / "lerobot"), tmp_path / "back", "hdf5")
    found = open_source(tmp_path / "back")
    assert {entry.id for entry in found.scan()} == set(ids)
    for id in ids:
        same_episode(found.open(id), source.open(id))


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


@pytest.mark.slow
def test_the_files_of_lerobot(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    info = json.loads((out / "meta/info.json").read_text())
    counted = [info[f"total_{what}"] for what in ("episodes", "frames", "tasks")]
    assert (info["codebase_version"], info["fps"], info["robot_type"], counted) == ("v3.1", 5, "none", [2, 12, 2])
    assert info["features"]["action"]["names"][:2] == ["x", "y"]
    assert info["features"]["observation.images.shoulder"]["dtype"] == "image"
    data = pq.ParquetFile(out / "data/chunk-000/file-000.parquet")
    assert set(data.schema_arrow.names) == set(info["features"])  # LeRobot casts to these and takes no others
    assert data.schema_arrow.field("action").type == pa.list_(pa.float32(), 7)
    listed = rows(out / "meta/episodes/chunk-000/file-000.parquet")
    assert [(row["dataset_from_index"], row["dataset_to_index"], row["success"]) for row in listed] == [
        (0, 6, True),
        (6, 12, None),
    ]
    actions = open_source(two).open("b").actions
    assert np.allclose(listed[1]["stats/action/std"], actions.std(0), atol=1e-6)
    stats = json.loads((out / "meta/stats.json").read_text())
    assert np.allclose(stats["action"]["std"], actions.std(0), atol=1e-6) and stats["action"]["count"] == [12]
    assert np.shape(stats["observation.images.shoulder"]["mean"]) == (3, 1, 1)
    assert stats["observation.images.shoulder"]["max"][0] == [[250 / 255]]
    assert stats["index"]["max"] == [11]
    tasks = pq.read_table(out / "meta/tasks.parquet").to_pandas()
    assert list(tasks.index) == ["put the red block on the towel", "öffne die Schublade"]
    assert list(tasks["task_index"]) == [0, 1]


@pytest.mark.slow
def test_language_columns_say_it_to_others(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    said = rows(out / "data/chunk-000/file-000.parquet")
    persistent = [(row["style"], row["content"], row["timestamp"]) for row in said[0]["language_persistent"]]
    third = np.float32(0.6).item()
    assert persistent == [
        ("observation", "a red block", 0.0),
        ("planning", "go right", 0.0),
        ("observation", "still a red block", third),
        ("planning", "", third),
    ]
    assert said[5]["language_persistent"] == said[0]["language_persistent"]
    assert said[6]["language_persistent"] == [] == said[0]["language_events"]


SPOKEN = (
    Rationale({"subtask": "reach", "vqa question @ shoulder": "where?", "vqa @ shoulder": "left"}, 1, 2, author="x"),
    Rationale({"subtask": "reach", "speech": "on my way"}, 2, 3),
    Rationale({"planning": "a", "odd / name": "b", "odd _ name": "c", "..": "d"}, 4, 6),
)


@pytest.mark.slow
def test_gaps_events_and_odd_parts_are_read_back_from_the_columns_alone(tmp_path):
    write_tiny_episode(tmp_path / "in" / "a.hdf5", rationales=SPOKEN)
    out = export_episodes(open_source(tmp_path / "in"), tmp_path / "out", "lerobot").path
    assert open_source(out).open("tiny").rationales == SPOKEN
    listing = out / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(listing).drop_columns(["vla_lens/episode"]), listing)
    found = open_source(out).open("episode_000000").rationales
    assert found == tuple(replace(one, author="") for one in SPOKEN)
    export_episodes(open_source(tmp_path / "in"), tmp_path / "hdf5", "hdf5")
    assert open_source(tmp_path / "hdf5").open("tiny").rationales == SPOKEN


def test_overlapping_rationales_keep_their_authors(tmp_path):
    both = (Rationale({"planning": "a"}, 0, 4, "one"), Rationale({"planning": "b"}, 2, 6, "two"))
    write_tiny_episode(tmp_path / "in" / "a.hdf5", rationales=both)
    out = export_episodes(open_source(tmp_path / "in"), tmp_path / "out", "lerobot").path
    assert open_source(out).open("tiny").rationales == both


@pytest.mark.slow
def test_language_columns_changed_elsewhere_win(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    path = out / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    said = table.column("language_persistent").to_pylist()
    said[0][1]["content"] = "go left"
    place = table.schema.get_field_index("language_persistent")
    changed = table.set_column(place, table.schema.field(place), pa.array(said, table.schema.field(place).type))
    pq.write_table(changed, path)
    assert open_source(out).open("a/set").rationales[0].parts["planning"] == "go left"


def test_without_rationales_it_is_version_3_0(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot", ids=["b"]).path
    info = json.loads((out / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and "language_events" not in info["features"]
    assert not (out / "vla_lens").exists()
    same_episode(open_source(out).open("b"), open_source(two).open("b"))


@pytest.mark.slow
def test_video_is_near_and_has_a_keyframe_every_two(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot", video=True).path
    found = open_source(out)
    for id in ("a/set", "b"):
        for index in range(STEPS):
            difference = found.open(id).frame("shoulder", index).astype(int) - frame(index)
            assert np.abs(difference).mean() < 6
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["observation.images.shoulder"]["info"]["video.codec"] == "h264"  # too small for AV1


@pytest.mark.slow
def test_small_data_files(two, tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_export, "DATA_BYTES", 100)
    monkeypatch.setattr(lerobot_export, "ROWS", 4)
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    assert len(list((out / "data").rglob("*.parquet"))) == 2
    same_source(open_source(out), open_source(two))


@pytest.mark.slow
def test_jpeg_and_png_stay_as_they_are(tmp_path):
    write_tiny_episode(tmp_path / "in" / "a.hdf5", encoding="jpeg")
    source = open_source(tmp_path / "in")
    for format in ("lerobot", "hdf5"):
        export_episodes(source, tmp_path / format, format)
        found = open_source(tmp_path / format).open("tiny")
        assert found.encoded_frame("shoulder", 3) == source.open("tiny").encoded_frame("shoulder", 3)


@pytest.mark.slow
def test_rlds_to_hdf5_and_lerobot(tmp_path):
    source = open_source(write_bridge(tmp_path / "rlds"))
    ids = [entry.id for entry in source.scan() if isinstance(entry, EpisodeMeta)]
    for format in ("hdf5", "lerobot"):
        export_episodes(source, tmp_path / format, format)
        found = open_source(tmp_path / format)
        assert sorted(entry.id for entry in found.scan()) == sorted(ids)
        for id in ids:
            one, other = found.open(id), source.open(id)
            assert np.array_equal(one.actions, other.actions) and np.array_equal(one.states, other.states)
            assert one.meta.instruction == other.meta.instruction and one.meta.cameras == other.meta.cameras
            assert one.meta.action_units == other.meta.action_units and one.meta.fps == other.meta.fps
            for camera in one.meta.cameras:
                assert one.encoded_frame(camera, 2) == other.encoded_frame(camera, 2)


@pytest.mark.slow
def test_broken_episodes_are_named_or_skipped(two, tmp_path):
    (two / "c.hdf5").write_bytes((two / "a.hdf5").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"1 of the episodes .*c\.hdf5"):
        export_episodes(open_source(two), tmp_path / "out", "hdf5")
    assert list(tmp_path.iterdir()) == [two]
    told = export_episodes(open_source(two), tmp_path / "out", "hdf5", skip_broken=True)
    assert told.episodes == 2 and [Path(one.path).name for one in told.skipped] == ["c.hdf5"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["hdf5", "lerobot"])
@pytest.mark.parametrize("error", [RuntimeError("crash"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_crash_in_the_middle_leaves_nothing(two, tmp_path, format, error):
    def crash(done: int, _: int) -> None:
        if done == 2:
            raise error

    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        export_episodes(open_source(two), tmp_path / "out", format, progress=crash)
    assert list(tmp_path.iterdir()) == [two]


@pytest.mark.slow
def test_an_episode_that_breaks_while_it_is_written_leaves_no_rows(two, tmp_path, monkeypatch):
    source = open_source(two)
    opened = source.open
    monkeypatch.setattr(source, "open", lambda id: _Broken(opened(id)) if id == "a/set" else opened(id))
    told = export_episodes(source, tmp_path / "out", "lerobot", skip_broken=True)
    assert told.episodes == 1 and "frame 3" in told.skipped[0].reason
    (only,) = open_source(tmp_path / "out").scan()
    assert isinstance(only, EpisodeMeta) and only.id == "b"
    assert len(rows(tmp_path / "out/data/chunk-000/file-000.parquet")) == STEPS


@pytest.mark.slow
def test_an_episode_that_breaks_in_its_second_video_leaves_none(tmp_path, monkeypatch):
    images = {camera: [frame(index) for index in range(STEPS)] for camera in ("left", "right")}
    for id in ("a", "b"):
        write_tiny_episode(tmp_path / "in" / f"{id}.hdf5", id=id, images=images, truth=None, positions=None)
    source = open_source(tmp_path / "in")
    whole, opened = lerobot_export.write_video, source.open("b")

    def write(path: Path, *arguments: Any) -> None:
        if "right" in str(path) and "file-001" in str(path):
            raise UserError("the second video cannot be encoded")
        whole(path, *arguments)

    monkeypatch.setattr(lerobot_export, "write_video", write)
    out = export_episodes(source, tmp_path / "out", "lerobot", video=True, skip_broken=True)
    assert opened.meta.source in [one.path for one in out.skipped] and out.episodes == 1
    assert [path.name for path in (tmp_path / "out/videos").rglob("*.mp4")] == ["file-000.mp4"] * 2


class _Broken:
    """An episode whose frame 3 cannot be read."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._episode, name)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        if index == 3:
            raise UserError("frame 3 cannot be read")
        return self._episode.encoded_frame(camera, index)


@pytest.mark.slow
def test_a_folder_that_is_not_new_is_refused(two, tmp_path):
    (tmp_path / "out").mkdir()
    export_episodes(open_source(two), tmp_path / "out", "hdf5")
    before = sorted((tmp_path / "out").iterdir())
    for out, said in ((tmp_path / "out", "not an empty folder"), (two / "inside", "outside of")):
        with pytest.raises(UserError, match=said):
            export_episodes(open_source(two), out, "hdf5")
    assert sorted((tmp_path / "out").iterdir()) == before and not (two / "inside").exists()


@pytest.mark.slow
def test_what_does_not_fit_one_data_set_is_said(two, tmp_path):
    write_tiny_episode(two / "c.hdf5", id="c", fps=10)
    with pytest.raises(UserError, match=r"one fps for all episodes: 'c' has 10\.0"):
        export_episodes(open_source(two), tmp_path / "out", "lerobot")
    assert export_episodes(open_source(two), tmp_path / "out", "hdf5").episodes == 3
    with pytest.raises(UserError, match="nosuch"):
        export_episodes(open_source(two), tmp_path / "other", "hdf5", ids=["nosuch"])
    with pytest.raises(UserError, match="formats are hdf5, lerobot"):
        export_episodes(open_source(two), tmp_path / "other", "csv")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", "[]", '{"id": 3, "steps": true}', "x" * 100, '{"id": "a", "steps": true}'])
def test_a_kept_description_that_is_damaged_is_named(two, tmp_path, text):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    listing = out / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(listing)
    place = table.schema.get_field_index("vla_lens/episode")
    own = [text, *table.column(place).to_pylist()[1:]]
    pq.write_table(table.set_column(place, "vla_lens/episode", pa.array(own)), listing)
    broken, good = open_source(out).scan()
    assert isinstance(broken, BrokenEpisode) and "export the episode again" in broken.reason
    assert isinstance(good, EpisodeMeta) and good.id == "b"


@pytest.mark.slow
def test_kept_steps_that_are_missing_or_damaged_are_named(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    path = out / "vla_lens/chunk-000/episode_000000.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        open_source(out).open("a/set")
    path.unlink()
    with pytest.raises(UserError, match="missing"):
        open_source(out).open("a/set")


@pytest.mark.slow
def test_the_command(two, tmp_path, monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, out, err = run(two, tmp_path / "out", "--format", "lerobot", "--id", "b", "--json")
    assert code == 0 and "1/1" in err
    told = {"path": str(tmp_path / "out"), "format": "lerobot", "episodes": 1, "steps": STEPS, "skipped": []}
    assert json.loads(out) == told
    code, out, err = run(two, tmp_path / "out", "--format", "hdf5")
    assert code == 2 and out == "" and "not an empty folder" in err
    (two / "c.hdf5").write_text("x")
    code, out, err = run(two, tmp_path / "rest", "--format", "hdf5", "--skip-broken")
    assert (code, out) == (0, f"{tmp_path / 'rest'}\n") and "skipped:" in err and "c.hdf5" in err


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_episodes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (STEPS, 300, 300, 3), np.uint8)  # does not compress: 1.6 MB
    quiet = {"truth": None, "positions": None, "images": {"shoulder": list(noise)}}
    for number in range(12):
        write_tiny_episode(tmp_path / "in" / f"{number:02}.hdf5", id=f"{number:02}", **quiet)
    peaks = []
    for count in (2, 12):
        tracemalloc.start()
        ids = [f"{number:02}" for number in range(count)]
        export_episodes(open_source(tmp_path / "in"), tmp_path / f"out{count}", "lerobot", ids=ids)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000


@pytest.mark.slow
def test_kept_steps_that_are_mutated_end_in_a_sentence(two, tmp_path):
    out = export_episodes(open_source(two), tmp_path / "out", "lerobot").path
    path = out / "vla_lens/chunk-000/episode_000000.parquet"
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            opened = open_source(out).open("a/set")
            for index in range(STEPS):
                opened.step(index)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
