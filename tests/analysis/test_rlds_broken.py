"""RLDS data sets with something wrong: each fault gets its own sentence, and what is sound stays usable."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, rlds
from analysis.episodes.rlds import RldsSource
from analysis.episodes.rlds_example import Example, feature_ranges
from analysis.episodes.tfrecord import Payload, index_shard, masked, opened
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests import tiny_rlds
from tests.tiny_rlds import bridge_episode, bridge_specification, example, framed, shard_path, write_bridge, write_rlds

PIECE = 2_000  # bytes at the start of a record in which its names and small features lie, among others


def listed(path: Path) -> tuple[list[str], list[str]]:
    """Ids of the good episodes, reasons of the broken ones."""
    entries = list(RldsSource(path).scan())
    reasons = [entry.reason for entry in entries if isinstance(entry, BrokenEpisode)]
    assert not [reason for reason in reasons if "\n" in reason]
    return [entry.id for entry in entries if isinstance(entry, EpisodeMeta)], reasons


def rewritten(folder: Path, change: Callable[[bytes], bytes], number: int = 0, count: int = 1) -> Path:
    path = shard_path(folder, "train", number, count)
    path.write_bytes(change(path.read_bytes()))
    return path


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def record_starts(path: Path) -> list[int]:
    return [int(offset) - 12 for offset in index_shard(path).offsets]


def test_the_checksum_is_that_of_the_published_files():
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C
    for crc in (0, 1, 0xE3069283, 0xFFFFFFFF):
        assert masked(crc) == tiny_rlds.masked(crc)


def test_the_walk_finds_what_protobuf_finds(tmp_path):
    payload = example(bridge_episode())
    path = tmp_path / "payload"
    path.write_bytes(payload)
    with opened(path) as file:
        found = feature_ranges(Payload(file, 0, len(payload)))
    parsed = Example.FromString(payload).features.feature
    assert found.keys() == set(parsed)
    for name, (start, stop) in found.items():
        assert payload[start:stop] == parsed[name].SerializeToString(deterministic=True)


@pytest.mark.parametrize("large", [False, True])
def test_a_flipped_byte_spoils_one_record(tmp_path, monkeypatch, large):
    folder = write_bridge(tmp_path, {"train": [3]})
    start = record_starts(shard_path(folder, "train"))[1]
    jpeg = shard_path(folder, "train").read_bytes().index(b"\xff\xd8", start)
    rewritten(folder, lambda data: flipped(data, jpeg + 700))
    monkeypatch.setattr(rlds, "SMALL_BYTES", 0 if large else rlds.SMALL_BYTES)
    ids, reasons = listed(folder)
    assert ids == (["train/0", "train/1", "train/2"] if large else ["train/0", "train/2"])
    assert large or (len(reasons) == 1 and "record 1 of bridge_dataset-train.tfrecord-00000" in reasons[0])
    with pytest.raises(UserError, match=r"record 1 of .* do not have the checksum"):
        RldsSource(folder).open("train/1")
    assert RldsSource(folder).open("train/2").actions[0, 0] == 2


def test_a_flipped_length_loses_the_rest_of_its_file(tmp_path):
    folder = write_bridge(tmp_path, {"train": [3, 1]})
    start = record_starts(shard_path(folder, "train", 0, 2))[1]
    rewritten(folder, lambda data: flipped(data, start + 1), 0, 2)
    ids, (reason,) = listed(folder)
    assert ids == ["train/0", "train/3"]
    assert "the length of record 1 is damaged" in reason and "2 episodes of it are lost" in reason
    with pytest.raises(UserError, match="length of record 1 is damaged"):
        RldsSource(folder).open("train/2")
    assert RldsSource(folder).open("train/3").actions[0, 0] == 3


@pytest.mark.parametrize(
    ("left", "sentence"),
    [(5, "ends within its header"), (14, "record 1 is cut short: it claims"), (900, "and 888 are there")],
)
def test_a_file_that_is_cut_short(tmp_path, left, sentence):
    folder = write_bridge(tmp_path)
    start = record_starts(shard_path(folder, "train"))[1]
    rewritten(folder, lambda data: data[: start + left])
    ids, (reason,) = listed(folder)
    assert ids == ["train/0"] and sentence in reason and "1 episodes of it are lost" in reason


def test_a_file_that_is_cut_between_records(tmp_path):
    folder = write_bridge(tmp_path)
    start = record_starts(shard_path(folder, "train"))[1]
    rewritten(folder, lambda data: data[:start])
    ids, (reason,) = listed(folder)
    assert ids == ["train/0"] and "has 1 episodes; dataset_info.json says 2" in reason


def test_a_file_with_more_records_than_it_should_have(tmp_path):
    folder = write_bridge(tmp_path, {"train": [1, 1]})
    rewritten(folder, lambda data: data + framed(example(bridge_episode(9))), 0, 2)
    ids, reasons = listed(folder)
    assert ids == ["train/0", "train/00000-1", "train/1"] and not reasons
    assert RldsSource(folder).open("train/00000-1").actions[0, 0] == 9
    assert RldsSource(folder).open("train/1").actions[0, 0] == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"),
        (b"\x1f\x8b\x08\x00 compressed", "compressed with gzip"),
        (b"hello, I am no record at all", "length of record 0 is damaged"),
        (framed(b"")[:12], "record 0 is cut short"),
    ],
)
def test_files_that_are_no_tfrecords(tmp_path, content, sentence):
    folder = write_bridge(tmp_path, {"train": [2, 1]})
    rewritten(folder, lambda _: content, 0, 2)
    ids, (reason,) = listed(folder)
    assert ids == ["train/2"] and sentence in reason
    with pytest.raises(UserError, match=sentence):
        RldsSource(folder).open("train/0")


def test_a_record_that_claims_more_than_the_file_has_sets_no_memory_aside(tmp_path):
    folder = write_bridge(tmp_path)
    length = struct.pack("<Q", 40 << 30)
    head = length + struct.pack("<I", masked(google_crc32c.value(length)))
    rewritten(folder, lambda data: head + data[12:])
    tracemalloc.start()
    ids, (reason,) = listed(folder)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000  # bytes
    tracemalloc.stop()
    assert not ids and "claims 42,949,672,960 bytes" in reason


def changed(**features: Any) -> dict[str, Any]:
    """A good episode, but for these features; None takes one away."""
    episode = bridge_episode() | {name.replace("__", "/"): value for name, value in features.items()}
    return {name: value for name, value in episode.items() if value is not None}


def poisoned() -> np.ndarray:
    values = np.zeros((6, 7), np.float32)
    values[2, 5] = np.nan
    return values


PICTURES = bridge_episode()["steps/observation/image_0"]
BROKEN = {
    "no actions": (changed(steps__action=None), "no numbers under steps/action"),
    "text as actions": (changed(steps__action=[b"left"] * 6), "'steps/action' holds text; expected numbers"),
    "integers as actions": (changed(steps__action=[1] * 42), "holds integers; features.json says float32"),
    "short actions": (changed(steps__action=np.zeros((5, 7))), "has 35 numbers, expected 7 for 6 steps"),
    "nan": (
        changed(steps__action=poisoned()),
        "it has 1 actions that are no finite number; the first is nan at step 2",
    ),
    "short camera": (changed(steps__observation__image_0=PICTURES[:-1]), "camera 'image_0' has 5 frames, expected 6"),
    "zero steps": (changed(**{f"steps__{flag}": [] for flag in ("is_first", "is_last")}), "zero steps"),
    "no camera": (changed(**{f"steps__observation__image_{k}": None for k in (0, 1, 3)}), "it has no camera"),
    "long instruction": (changed(steps__language_instruction=[b"a" * 100_001]), "more than 100,000 bytes"),
    "nothing": ({}, "no feature"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_episode_says_what_is_wrong(tmp_path, case):
    episode, sentence = BROKEN[case]
    folder = write_rlds(tmp_path, {"train": [[bridge_episode(), episode]]}, bridge_specification())
    ids, (reason,) = listed(folder)
    assert ids == ["train/0"] and sentence in reason and "record 1 of" in reason
    with pytest.raises(UserError):
        RldsSource(folder).open("train/1")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_no_number_are_left_out_and_named(tmp_path, value):
    states = np.zeros((6, 7), np.float32)
    states[2, 5] = value
    episode = changed(steps__observation__state=states)
    folder = write_rlds(tmp_path, {"train": [[episode]]}, bridge_specification())
    (meta,) = RldsSource(folder).scan()
    opened_episode = RldsSource(folder).open("train/0")
    assert opened_episode.meta == meta and isinstance(meta, EpisodeMeta)
    assert opened_episode.states is None and meta.state_names == () and meta.state_units == ()
    assert (
        f"1 numbers that are no finite number; the first is {value} at step 2, dimension 'yaw'" in meta.extra["state"]
    )
    assert opened_episode.step(2).observation.state is None and len(opened_episode.actions) == 6


def test_a_camera_whose_first_frame_is_no_image_is_set_apart(tmp_path):
    episode = changed(steps__observation__image_1=[b"GIF89a"] * 6)
    folder = write_rlds(tmp_path, {"train": [[episode]]}, bridge_specification())
    meta = RldsSource(folder).open("train/0").meta
    assert meta.cameras == ("image_0",) and meta.extra["unreadable_cameras"] == "image_1"


def test_a_later_frame_that_is_no_image_is_reported_where_it_is_read(tmp_path):
    episode = changed(steps__observation__image_0=[*PICTURES[:4], b"nothing", PICTURES[5][:300]])
    folder = write_rlds(tmp_path, {"train": [[episode]]}, bridge_specification())
    opened_episode = RldsSource(folder).open("train/0")
    assert opened_episode.step(3).index == 3
    for index in (4, 5):
        with pytest.raises(UserError, match=f"frame {index} of camera 'image_0'"):
            opened_episode.step(index)


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"featuresDict": 3}', '{"featuresDict": {"features": {}}}'])
def test_descriptions_that_cannot_be_used_are_done_without(tmp_path, content):
    folder = write_bridge(tmp_path)
    (folder / "features.json").write_text(content)
    ids, reasons = listed(folder)
    assert ids == ["train/0", "train/1"] and not reasons
    assert "features.json" in RldsSource(folder).open("train/0").meta.extra["features"]
    (folder / "dataset_info.json").write_text(content)
    assert len(listed(folder)[0]) == 2


def test_deeply_nested_descriptions_and_absurd_shapes(tmp_path):
    folder = write_bridge(tmp_path)
    (folder / "features.json").write_text('{"featuresDict": {"features": {"a": ' * 3000 + "1" + "}}}" * 3000)
    assert len(listed(folder)[0]) == 2
    features = bridge_specification()
    step = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    step["action"] = tiny_rlds.tensor("float32", 10**5, 10**6)
    (folder / "features.json").write_text(json.dumps(features))
    ids, reasons = listed(folder)
    assert not ids and "100,000,000,000 columns" in reasons[0]


def test_other_file_formats_are_named(tmp_path):
    folder = write_bridge(tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "array_record"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    shard_path(folder, "train").unlink()
    assert "stored as 'array_record'" in listed(folder)[1][0]


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside = write_bridge(tmp_path / "outside")
    inside = write_bridge(tmp_path / "inside", {"train": [2, 1]})
    path = shard_path(inside, "train", 0, 2)
    path.unlink()
    path.symlink_to(shard_path(outside, "train"))
    (inside / "features.json").unlink()
    (inside / "features.json").symlink_to(outside / "features.json")
    ids, (reason,) = listed(inside)
    assert ids == ["train/2"] and "leads out of" in reason
    assert "leads out of" in RldsSource(inside).open("train/2").meta.extra["features"]
