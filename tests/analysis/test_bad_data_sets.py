"""Every format with every fault that data sets come with: it is named, and the episode beside it stays usable."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.episodes import BrokenEpisode, EpisodeSource, open_source
from analysis.types import EpisodeMeta
from models.errors import UserError
from tests.contracts.test_episode_source_contract import WRITERS
from tests.tiny_aloha import write_aloha
from tests.tiny_episode import STEPS
from tests.tiny_lerobot_dataset import CAMERA, table, write_lerobot
from tests.tiny_rlds import BRIDGE, bridge_episode, example, framed, write_bridge
from tests.tiny_robomimic import write_robomimic

TEN_GIGABYTES = 10 << 30
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456\n"
Harm = Callable[[Path], None]

RLDS_1 = "bridge_dataset/1.0.0"
SHARD = f"{BRIDGE}-train.tfrecord-0000{{}}-of-00002"
FIRST = "data/chunk-000/episode_000000.parquet"
VIDEO = f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
ROWS_3, VIDEO_3 = "data/chunk-000/file-000.parquet", f"videos/{CAMERA}/chunk-000/file-000.mp4"


def rlds(folder: Path) -> Path:
    return write_bridge(folder / RLDS_1, {"train": [2, 2]})


def robomimic(folder: Path) -> Path:
    write_robomimic(folder / "a.hdf5")
    return write_robomimic(folder / "b.hdf5").parent


def plain_aloha(folder: Path) -> Path:
    write_aloha(folder / "episode_0.hdf5", seed=0)
    return write_aloha(folder / "episode_1.hdf5", seed=1).parent


GOOD: dict[str, Callable[[Path], Path]] = {
    "rlds": rlds,
    "lerobot v2.1": lambda folder: write_lerobot(folder, "v2.1"),
    "lerobot v3.0": lambda folder: write_lerobot(folder, "v3.0"),
    "hdf5": WRITERS["hdf5"],
    "robomimic": robomimic,
    "aloha": plain_aloha,
    "images": WRITERS["images"],
}


def cut(name: str, share: float = 0.6) -> Harm:
    def harm(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * share)])

    return harm


def flip(name: str, place: Callable[[bytes], int]) -> Harm:
    def harm(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        data[place(data)] ^= 0xFF
        (root / name).write_bytes(data)

    return harm


def put(name: str, content: bytes) -> Harm:
    return lambda root: (root / name).write_bytes(content) and None


def drop(name: str) -> Harm:
    return lambda root: (root / name).unlink()


def lead_out(name: str) -> Harm:
    def harm(root: Path) -> None:
        elsewhere = root.parent / f"elsewhere{Path(name).suffix}"
        (root / name).rename(elsewhere)
        (root / name).symlink_to(elsewhere)

    return harm


def copy(name: str, to: str) -> Harm:
    return lambda root: (root / to).write_bytes((root / name).read_bytes()) and None


def sparse(name: str) -> Harm:
    def harm(root: Path) -> None:
        with (root / name).open("wb") as stream:
            stream.truncate(TEN_GIGABYTES)

    return harm


def records(*episodes: dict[str, object]) -> bytes:
    return b"".join(framed(example(episode)) for episode in episodes)


def inside(name: str, change: Callable[[h5py.File], None]) -> Harm:
    def harm(root: Path) -> None:
        with h5py.File(root / name, "a") as file:
            change(file)

    return harm


def replace(key: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        attributes = dict(file[key].attrs)
        del file[key]
        file[key] = values
        file[key].attrs.update(attributes)

    return change


def rows(name: str, values: dict[str, object]) -> Harm:
    return lambda root: pq.write_table(table(0, values=values), root / name)


def listed(change: Callable[[list[dict[str, object]]], list[dict[str, object]]]) -> Harm:
    """Rewrites the list of episodes."""

    def harm(root: Path) -> None:
        lines, listing = root / "meta/episodes.jsonl", root / "meta/episodes/chunk-000/file-000.parquet"
        if lines.exists():
            entries = change([json.loads(line) for line in lines.read_text().splitlines()])
            lines.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        else:
            pq.write_table(pa.Table.from_pylist(change(pq.read_table(listing).to_pylist())), listing)

    return harm


def no_steps(root: Path) -> None:
    (root / "episode_0/actions.csv").write_text("x [m],yaw [rad],gripper [open]\n")


def words(root: Path) -> None:
    path = root / "episode_0/actions.csv"
    path.write_text(path.read_text().replace("0.10,", "left,", 1))


TEXT = pa.array(["left"] * STEPS)
EMPTY_LIST = listed(lambda entries: [entries[0] | {"length": 0}, *entries[1:]])
TWICE = listed(lambda entries: [entries[0], *entries])

# fault -> format -> what is done, and what is said about it; a format has "not so" where the fault cannot be
CASES: dict[str, dict[str, tuple[Harm, str]]] = {
    "truncated record": {
        "rlds": (cut(SHARD.format(1)), "cut short"),
        "lerobot v2.1": (cut(FIRST), "damaged|cut short"),
        "lerobot v3.0": (cut("meta/episodes/chunk-000/file-000.parquet"), "damaged|cut short"),
        "hdf5": (cut("first.hdf5"), "cut short"),
        "robomimic": (cut("a.hdf5"), "cut short"),
        "aloha": (cut("episode_0.hdf5"), "cut short"),
        "images": (cut("episode_0/actions.csv", 0.97), "lengths disagree|values at step"),
    },
    "flipped byte": {
        "rlds": (flip(SHARD.format(0), lambda data: len(data) // 4), "checksum"),
        "lerobot v2.1": (flip(FIRST, lambda data: len(data) - 3), "damaged|cut short"),
        "lerobot v3.0": (flip(ROWS_3, lambda data: len(data) - 3), "damaged|cut short"),
        "hdf5": (flip("first.hdf5", lambda data: 9), "damaged|HDF5"),
        "robomimic": (flip("a.hdf5", lambda data: 0), "no HDF5 file|damaged"),
        "aloha": (flip("episode_0.hdf5", lambda data: 0), "no HDF5 file|damaged"),
        "images": (flip("episode_0/episode.json", lambda data: 0), "no JSON"),
    },
    "missing file": {  # shard, video, frame
        "rlds": (drop(SHARD.format(1)), "1 of 2 files of the split 'train' are not there"),
        "lerobot v2.1": (drop(FIRST), "is missing"),
        "lerobot v3.0": (drop(ROWS_3), "is missing"),
        "images": (drop("episode_0/frames/front/3.png"), "no frame 3"),
    },
    "missing video": {
        "lerobot v2.1": (drop(VIDEO), "is missing"),
        "lerobot v3.0": (drop(VIDEO_3), "is missing"),
        "images": (
            lambda root: [path.unlink() for path in root.glob("episode_0/frames/front/*")] and None,
            "no frames",
        ),
    },
    "LFS pointer": {
        "rlds": (put(SHARD.format(1), POINTER), "Git LFS pointer"),
        "lerobot v2.1": (put(VIDEO, POINTER), "Git LFS pointer"),
        "lerobot v3.0": (put(ROWS_3, POINTER), "Git LFS pointer"),
        "hdf5": (put("first.hdf5", POINTER), "Git LFS pointer"),
        "robomimic": (put("a.hdf5", POINTER), "Git LFS pointer"),
        "aloha": (put("episode_0.hdf5", POINTER), "Git LFS pointer"),
        "images": (put("episode_0/frames/front/3.png", POINTER), "3.png of camera 'front' .* Git LFS pointer"),
    },
    "partial download": {  # a file of the right name that has not begun
        "rlds": (put(SHARD.format(1), b""), "is empty"),
        "lerobot v2.1": (put(VIDEO, b""), "is empty"),
        "lerobot v3.0": (put(VIDEO_3, b""), "is empty"),
        "hdf5": (put("first.hdf5", b""), "is empty"),
        "robomimic": (put("a.hdf5", b""), "is empty"),
        "aloha": (put("episode_0.hdf5", bytes(3000)), "begins with zeros"),
        "images": (put("episode_0/frames/front/3.png", b""), "is empty"),
    },
    "wrong dtype": {
        "rlds": (
            put(
                SHARD.format(0),
                records(bridge_episode(0) | {"steps/action": [b"left"] * STEPS}, bridge_episode(1)),
            ),
            "holds text; expected numbers",
        ),
        "lerobot v2.1": (rows(FIRST, {"action": TEXT}), "expected numbers|holds string"),
        "hdf5": (inside("first.hdf5", replace("actions", np.full((STEPS, 7), b"left"))), "expected numbers"),
        "robomimic": (inside("a.hdf5", replace("data/demo_0/actions", np.full((STEPS, 7), b"x"))), "expected numbers"),
        "aloha": (inside("episode_0.hdf5", replace("action", np.full((4, 14), b"x"))), "expected numbers"),
        "images": (words, "no number at step 1"),
    },
    "empty episode": {
        "rlds": (put(SHARD.format(0), records(bridge_episode(0, 0), bridge_episode(1))), "zero steps|no camera"),
        "lerobot v2.1": (EMPTY_LIST, "zero steps"),
        "lerobot v3.0": (EMPTY_LIST, "zero steps"),
        "hdf5": (inside("first.hdf5", replace("actions", np.zeros((0, 7)))), "zero steps"),
        "robomimic": (inside("a.hdf5", replace("data/demo_0/actions", np.zeros((0, 7)))), "zero steps"),
        "aloha": (inside("episode_0.hdf5", replace("action", np.zeros((0, 14)))), "zero steps"),
        "images": (no_steps, "zero steps"),
    },
    "duplicate ids": {
        "lerobot v2.1": (TWICE, "twice"),
        "lerobot v3.0": (TWICE, "twice"),
        "hdf5": (copy("first.hdf5", "first again.hdf5"), "ids are unique"),
        "robomimic": (copy("a.hdf5", "a.h5"), "but for the suffix"),
        "aloha": (copy("episode_0.hdf5", "episode_0.h5"), "but for the suffix"),
        "images": (copy("episode_0/frames/front/3.png", "episode_0/frames/front/003.png"), "two frames 3"),
    },
    "symlink out of the root": {
        "rlds": (lead_out(SHARD.format(1)), "link that leads out"),
        "lerobot v2.1": (lead_out(VIDEO), "link that leads out"),
        "lerobot v3.0": (lead_out(ROWS_3), "link that leads out"),
        "hdf5": (lead_out("first.hdf5"), "link that leads out"),
        "robomimic": (lead_out("a.hdf5"), "link that leads out"),
        "aloha": (lead_out("episode_0.hdf5"), "link that leads out"),
        "images": (lead_out("episode_0/episode.json"), "link that leads out"),
    },
    "10 GB file named .json": {
        "rlds": (sparse("dataset_info.json"), "10,737,418,240 bytes"),
        "lerobot v2.1": (sparse("meta/info.json"), "10,737,418,240 bytes"),
        "lerobot v3.0": (sparse("meta/info.json"), "10,737,418,240 bytes"),
        "images": (sparse("episode_0/episode.json"), "10,737,418,240 bytes"),
    },
}
NOTHING_LEFT = {  # what is harmed belongs to all episodes of the tiny data set
    ("truncated record", "lerobot v3.0"),
    ("flipped byte", "lerobot v3.0"),
    ("missing file", "lerobot v3.0"),
    ("missing video", "lerobot v3.0"),
    ("LFS pointer", "lerobot v3.0"),
    ("partial download", "lerobot v3.0"),
    ("symlink out of the root", "lerobot v3.0"),
    ("10 GB file named .json", "lerobot v2.1"),
    ("10 GB file named .json", "lerobot v3.0"),
}


def said_about(source: EpisodeSource) -> tuple[list[EpisodeMeta], list[str]]:
    """Usable episodes, and what is said about the others when they are listed or opened."""
    usable, reasons = [], []
    for entry in source.scan():
        if isinstance(entry, BrokenEpisode):
            reasons.append(f"{entry.path}: {entry.reason}")
            continue
        try:
            source.open(entry.id).step(entry.length - 1)
            usable.append(entry)
        except UserError as error:
            reasons.append(str(error))
    return usable, reasons


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "format"), [(fault, format) for fault in CASES for format in CASES[fault]])
def test_a_fault_is_named_and_the_rest_stays_usable(fault, format, tmp_path):
    root = GOOD[format](tmp_path / "set")
    harm, said = CASES[fault][format]
    before = {entry.id for entry in open_source(root).scan() if isinstance(entry, EpisodeMeta)}
    harm(root)
    started = time.process_time()
    usable, reasons = said_about(open_source(root))
    assert time.process_time() - started < 5
    assert any(re.search(said, reason) for reason in reasons), reasons
    assert len({meta.id for meta in usable}) == len(usable)
    if (fault, format) not in NOTHING_LEFT:
        assert usable and {meta.id for meta in usable} <= before | {
            f"train/0000{k}-{n}" for k in (0, 1) for n in (0, 1)
        }


def test_every_format_has_every_fault_that_it_can_have():
    cannot = {
        "missing file": {"hdf5", "robomimic", "aloha"},  # one file holds all
        "missing video": {"rlds", "hdf5", "robomimic", "aloha"},  # frames stand in the same file
        "wrong dtype": {"lerobot v3.0"},  # as version 2
        "duplicate ids": {"rlds"},  # ids are places
        "10 GB file named .json": {"hdf5", "robomimic", "aloha"},  # they have none
    }
    for fault, formats in CASES.items():
        assert formats.keys() | cannot.get(fault, set()) == GOOD.keys()


@pytest.mark.parametrize("name", ["episode.json", "embodied_features_bridge.json", "features.json", "big.hdf5"])
def test_a_sparse_file_of_ten_gigabytes_alone_is_refused_at_once(name, tmp_path):
    sparse(name)(tmp_path)
    started = time.process_time()
    for root in (tmp_path, tmp_path / name):
        try:
            usable, _ = said_about(open_source(root))
            assert not usable
        except UserError:
            pass
    assert time.process_time() - started < 5 and os.stat(tmp_path / name).st_blocks < 100
