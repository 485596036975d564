"""LeRobot data sets with something wrong: each thing is named, and the other episodes stay usable."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.episodes import BrokenEpisode
from analysis.episodes.lerobot import LerobotSource
from analysis.episodes.lerobot_paths import fill
from models.errors import UserError
from tests.tiny_episode import STEPS, frame
from tests.tiny_lerobot_dataset import CAMERA, FPS, TASKS, episode_entry, language_row, write_lerobot, write_video

DATA = "data/chunk-000/episode_000000.parquet"
VIDEO = f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
NUMBERS = pa.list_(pa.float32(), 7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A version 2.1 data set of two good episodes, for a test to spoil."""
    return write_lerobot(tmp_path, "v2.1")


def only_reason(root: Path) -> str:
    """Why the first episode cannot be used, having checked that the second can."""
    broken, good = LerobotSource(root).scan()
    assert isinstance(broken, BrokenEpisode)
    assert not isinstance(good, BrokenEpisode)
    assert LerobotSource(root).open(good.id).meta == good
    with pytest.raises(UserError):
        LerobotSource(root).open("episode_000000")
    return broken.reason


def reason_when_opened(root: Path) -> str:
    with pytest.raises(UserError) as error:
        LerobotSource(root).open("episode_000000")
    assert LerobotSource(root).open("episode_000001").actions.shape == (STEPS, 7)
    return str(error.value)


def change_info(root: Path, **changes: Any) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | changes))


def change_column(root: Path, name: str, values: Any) -> None:
    table = pq.read_table(root / DATA)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, name, values), root / DATA)


def cut(path: Path, part: float = 0.6) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_missing_file(root, name):
    (root / name).unlink()
    assert f"{name} is missing; the data set was not downloaded completely" in only_reason(root)


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_file_that_ends_early(root, name):
    cut(root / name)
    assert "cut short" in only_reason(root) or "damaged or no parquet file" in only_reason(root)


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_an_empty_file(root, name):
    (root / name).write_bytes(b"")
    assert f"{name} is empty" in only_reason(root)


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_git_lfs_pointer(root, name):
    (root / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert f"{name} is a Git LFS pointer" in only_reason(root)


@pytest.mark.parametrize("name", [DATA, VIDEO])
def test_a_link_that_leads_out(root, name, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / Path(name).name
    (root / name).rename(outside)
    (root / name).symlink_to(outside)
    assert "behind a link that leads out" in only_reason(root)


def test_a_link_inside_is_followed(root):
    (root / DATA).rename(root / "elsewhere.parquet")
    (root / DATA).symlink_to(root / "elsewhere.parquet")
    assert not any(isinstance(entry, BrokenEpisode) for entry in LerobotSource(root).scan())


def test_fewer_rows_than_listed(root):
    pq.write_table(pq.read_table(root / DATA).slice(0, 4), root / DATA)
    assert "the list of episodes says 6 steps, episode_000000.parquet has 4" in only_reason(root)


def test_fewer_rows_than_listed_in_a_shared_file(tmp_path):
    root = write_lerobot(tmp_path, "v3.0")
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).slice(2), path)
    assert "says 6 steps, file-000.parquet has 4" in reason_when_opened(root)


def test_rows_apart(tmp_path):
    root = write_lerobot(tmp_path, "v3.0")
    path = root / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).take([0, 1, 6, 7, 8, 9, 10, 11, 2, 3, 4, 5]), path)
    assert "rows of episode 0 in file-000.parquet are not next to each other" in reason_when_opened(root)


def test_numbers_that_are_not_finite(root):
    actions = np.zeros((STEPS, 7), np.float32)
    actions[3, 2] = np.nan
    change_column(root, "action", pa.array(list(actions), NUMBERS))
    assert "1 values that are no finite number; the first is nan at step 3, dimension 'z'" in reason_when_opened(root)


GAPS = {
    "NaN": pa.array([[0.0] * 7, [float("nan")] + [1.0] * 6, [float("inf")] * 7] + [[3.0] * 7] * 3, NUMBERS),
    "rows": pa.array([[0.0] * 7, None, None] + [[3.0] * 7] * 3, NUMBERS),
    "lists": pa.array([[0.0] * 7, None, None] + [[3.0] * 7] * 3),
    "numbers": pa.array([[0.0] * 7, [None, *[1.0] * 6], [None] * 7] + [[3.0] * 7] * 3),
}


@pytest.mark.parametrize("states", GAPS.values(), ids=GAPS)
def test_a_step_without_all_of_its_state_has_none(root, states):
    change_column(root, "observation.state", states)
    first, _ = LerobotSource(root).scan()
    episode = LerobotSource(root).open("episode_000000")
    assert episode.meta == first and episode.states is not None and episode.states.shape == (STEPS, 7)
    recorded = [episode.step(step).observation.state for step in range(STEPS)]
    assert [state is None for state in recorded] == [False, True, True, False, False, False]
    np.testing.assert_array_equal(recorded[3], [3.0] * 7)


@pytest.mark.parametrize("states", [pa.nulls(STEPS), pa.array([[None] * 7] * STEPS)], ids=["null", "lists of null"])
def test_an_episode_without_any_state_opens(root, states):
    change_column(root, "observation.state", states)
    assert LerobotSource(root).open("episode_000000").step(3).observation.state is None


@pytest.mark.parametrize("absent", [None, float("nan"), float("inf")])
def test_a_step_without_a_time_follows_the_rate(root, absent):
    times = [step / FPS for step in range(STEPS)]
    change_column(root, "timestamp", pa.array([*times[:3], absent, *times[4:]], pa.float32()))
    episode = LerobotSource(root).open("episode_000000")
    assert np.abs(episode.frame("top", 3).astype(int) - frame(3)).mean() < 6


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array(["left"] * STEPS), "'action' of episode_000000.parquet holds string; expected numbers"),
        (pa.array([[1.0] * 5] * STEPS), "has 5 numbers a row; expected 7"),
        (pa.array([[1.0] * 7] * 5 + [[1.0]]), "has rows of 1 to 7 numbers"),
        (pa.array([[1.0] * 7] * 5 + [None], NUMBERS), "has 1 empty entries"),
    ],
)
def test_actions_of_another_kind(root, values, said):
    change_column(root, "action", values)
    assert said in reason_when_opened(root)


def test_an_absent_column(root):
    pq.write_table(pq.read_table(root / DATA).drop_columns(["observation.state"]), root / DATA)
    assert "has no column 'observation.state'" in reason_when_opened(root)


def test_a_video_that_ends_before_the_episode(root):
    write_video(root / VIDEO, [frame(step) for step in range(3)], FPS)
    assert "of camera 'top' ends at 0.600 s; episode_000000 needs it to 1.000 s" in reason_when_opened(root)


def test_a_video_that_is_none(root):
    (root / VIDEO).write_text("words " * 1000)
    assert "episode_000000.mp4 is damaged or no video" in reason_when_opened(root)


def test_an_image_that_is_none(tmp_path):
    column = [{"bytes": b"GIF89a" if step == 2 else b"\x89PNG", "path": None} for step in range(STEPS)]
    root = write_lerobot(tmp_path, "v2.1", images="image", values={CAMERA: column})
    with pytest.raises(UserError, match="frame 0 of camera 'top' in episode_000000 cannot be decoded"):
        LerobotSource(root).open("episode_000000")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "images/\0.png"])
def test_an_image_beside_stays_in_the_folder(tmp_path, path):
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": None, "path": path}] * STEPS, kind)
    root = write_lerobot(tmp_path / "set", "v2.1", images="image", values={CAMERA: column})
    with pytest.raises(UserError, match="leads out of the data set"):
        LerobotSource(root).open("episode_000000")


def test_a_file_changed_after_it_was_opened(root):
    episode = LerobotSource(root).open("episode_000000")
    write_video(root / VIDEO, [frame(0)] * STEPS, FPS)
    with pytest.raises(UserError, match="was changed after it was opened"):
        episode.frame("top", 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version 'v1.6'; this program reads v2.0"),
        ({"codebase_version": None}, "codebase_version None"),
        ({"fps": 0}, "says 0 frames a second"),
        ({"fps": float("nan")}, "says nan frames a second"),
        ({"features": []}, "has no 'features'"),
        ({"features": {}}, "names no action"),
        ({"features": {"action": {"dtype": "string", "shape": [1]}}}, "has dtype 'string'"),
        ({"features": {"action": {"dtype": "float32", "shape": [10**9]}}}, "expected sizes from 1 to 1000"),
        ({"features": {"action": {"dtype": "float32", "shape": [2]}}}, "names no camera"),
        ({"chunks_size": 0}, "chunks_size 0"),
        ({"data_path": 7}, "data_path 7"),
    ],
)
def test_an_info_that_cannot_be_used(root, changes, said):
    change_info(root, **changes)
    (broken,) = LerobotSource(root).scan()
    assert isinstance(broken, BrokenEpisode)
    assert said in broken.reason
    with pytest.raises(UserError, match=r"info\.json"):
        LerobotSource(root).open("episode_000000")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"words"', "\udcff"])
def test_an_info_that_is_no_object(root, text):
    (root / "meta/info.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    (broken,) = LerobotSource(root).scan()
    assert isinstance(broken, BrokenEpisode)
    assert "info.json" in broken.reason


def test_a_huge_info_is_not_read(root):
    with (root / "meta/info.json").open("r+b") as stream:
        stream.truncate(10 << 30)
    tracemalloc.start()
    (broken,) = LerobotSource(root).scan()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(broken, BrokenEpisode)
    assert "10,737,418,240 bytes; at most" in broken.reason
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "template",
    [
        "{episode_index.__class__}",
        "{0}",
        "{secret}",
        "{episode_index!r}",
        "{episode_index:>9999999999}",
        "data/{{}}",
        "../{episode_index}",
        "/etc/{episode_index}",
        "a/../../{episode_index}",
        "",
    ],
)
def test_path_templates_are_data(template):
    with pytest.raises(UserError):
        fill(template, {"episode_index": 3})


def test_a_key_cannot_lead_out():
    with pytest.raises(UserError, match="leads out"):
        fill("videos/{video_key}/{episode_index:03d}.mp4", {"video_key": "../../..", "episode_index": 3})


def test_a_template_that_leads_out_breaks_the_episodes(root):
    change_info(root, data_path="../{episode_index}.parquet")
    entries = list(LerobotSource(root).scan())
    assert [isinstance(entry, BrokenEpisode) and "leads out" in entry.reason for entry in entries] == [True, True]


def test_lines_of_the_list_that_are_not_understood(root):
    good = json.dumps({"episode_index": 1, "tasks": [TASKS[1]], "length": STEPS})
    bad = ["{oops", "[]", '{"episode_index": -1}', '{"episode_index": 0, "length": 0}', '{"episode_index": 0}', good]
    (root / "meta/episodes.jsonl").write_text("\n".join([*bad, good]) + "\n")
    entries = list(LerobotSource(root).scan())
    assert [isinstance(entry, BrokenEpisode) for entry in entries] == [True] * 5 + [False, True]
    reasons = [entry.reason for entry in entries if isinstance(entry, BrokenEpisode)]
    for reason, said in zip(
        reasons, ["line 1", "line 2", "episode_index -1", "zero steps", "length None", "twice"], strict=True
    ):
        assert said in reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset_to_index": 5}, "length 6 and rows 0 to 5"),
        ({"data/file_index": -1}, "data/file_index -1"),
        ({f"videos/{CAMERA}/from_timestamp": float("nan")}, "from_timestamp nan"),
        ({f"videos/{CAMERA}/from_timestamp": None}, "from_timestamp None"),
        ({"data/file_index": 7}, "data/chunk-000/file-007.parquet is missing"),
    ],
)
def test_places_that_cannot_be(tmp_path, changes, said):
    root = write_lerobot(tmp_path, "v3.0")
    entries = [episode_entry(0, **changes), episode_entry(1)]
    pq.write_table(pa.Table.from_pylist(entries), root / "meta/episodes/chunk-000/file-000.parquet")
    assert said in only_reason(root)


def test_a_damaged_part_of_the_list_hides_no_other(tmp_path):
    root = write_lerobot(tmp_path, "v3.0")
    (root / "meta/episodes/chunk-000/file-001.parquet").write_bytes(b"PAR1 and no more")
    first, second, broken = LerobotSource(root).scan()
    assert not isinstance(first, BrokenEpisode) and not isinstance(second, BrokenEpisode)
    assert isinstance(broken, BrokenEpisode) and "file-001.parquet is damaged" in broken.reason


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_list_that_lacks_episodes(tmp_path, version):
    root = write_lerobot(tmp_path, version, total_episodes=2)
    assert not any(isinstance(entry, BrokenEpisode) for entry in LerobotSource(root).scan())
    change_info(root, total_episodes=7)
    *good, missing = LerobotSource(root).scan()
    assert len(good) == 2 and not any(isinstance(entry, BrokenEpisode) for entry in good)
    assert isinstance(missing, BrokenEpisode)
    assert "says 7 episodes, the list under meta/ has 2: episode 2 is the first that it lacks" in missing.reason


def test_an_absent_list_is_named_once(root):
    change_info(root, total_episodes=7)
    (root / "meta/episodes.jsonl").unlink()
    (broken,) = LerobotSource(root).scan()
    assert isinstance(broken, BrokenEpisode) and "episodes.jsonl is missing" in broken.reason


@pytest.mark.parametrize("total", [None, -1, "7", 1.5])
def test_a_total_that_is_none_is_not_compared(root, total):
    change_info(root, total_episodes=total)
    assert not any(isinstance(entry, BrokenEpisode) for entry in LerobotSource(root).scan())


def test_language_rows_that_are_not_understood(tmp_path):
    rows = [[language_row("plan", "go", timestamp=float("nan"))]] * STEPS
    root = write_lerobot(tmp_path / "time", "v2.1", language=True, values={"language_persistent": rows})
    with pytest.raises(UserError, match="timestamp nan"):
        LerobotSource(root).open("episode_000000")
    root = write_lerobot(tmp_path / "kind", "v2.1", language=True, values={"language_events": ["words"] * STEPS})
    assert all("expected lists of language rows" in entry.reason for entry in LerobotSource(root).scan())


def test_a_list_of_absent_episodes_is_quick(tmp_path):
    root = write_lerobot(tmp_path, "v2.1")
    lines = [json.dumps({"episode_index": n, "tasks": ["wave"], "length": 9}) for n in range(2, 502)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    begin = time.process_time()
    assert sum(isinstance(entry, BrokenEpisode) for entry in LerobotSource(root).scan()) == 500
    assert time.process_time() - begin < 5
