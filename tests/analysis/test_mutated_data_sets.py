"""Data sets of every format with bytes changed: 2,000 cases from fixed seeds, real files among them.

Each ends in success, in a BrokenEpisode or in a UserError: whatever else is raised fails the test by itself.
"""

from __future__ import annotations

import random
import re
import shutil
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from analysis.episodes import BrokenEpisode, hdf5_guard, open_source
from analysis.episodes.tfrecord import index_shard
from models.errors import UserError
from tests.contracts.test_episode_source_contract import WRITERS
from tests.tiny_aloha import CAMERAS, STEPS, jpeg, write_aloha
from tests.tiny_episode import write_tiny_episode
from tests.tiny_lerobot_dataset import write_lerobot
from tests.tiny_rlds import framed, write_bridge
from tests.tiny_robomimic import write_libero, write_robomimic

TOTAL = 2_000  # cases at least
MEMORY = 400 << 20  # bytes that the cases of one data set may add
SECONDS = 20.0  # of computing that one case may take; a file that hangs the HDF5 library is given up after 3
TEXTS = {".json", ".jsonl", ".csv"}
TOKENS = re.compile(rb'-?\d+\.?\d*|"[^"]*"|true|false|null')
NASTY = b'-1 0 1e999 -1e999 NaN 99999999999999999999 null true "" "\\u0000" "\\ud800" "../../x" [] {}'.split()
CHUNKS = (b"\xff" * 9 + b"\x01", b"\x00" * 4, b"\x0a\xff\xff\xff\x7f", b"\x00" * 64)


@dataclass(frozen=True)
class Set:
    write: Callable[[Path], object]
    cases: int


def listed_aloha(folder: Path) -> None:
    """JPEGs of variable length: the layout in which damage makes the HDF5 library crash or hang most often."""
    path = write_aloha(folder / "episode_0.hdf5", compressed=True)
    with h5py.File(path, "r+") as file:
        for name in [f"observations/images/{camera}" for camera in CAMERAS]:
            del file[name]
            data = file.create_dataset(name, shape=(STEPS,), dtype=h5py.vlen_dtype(np.uint8))
            for step in range(STEPS):
                data[step] = np.frombuffer(jpeg(0, step), np.uint8)


SETS: Mapping[str, Set] = {
    "rlds": Set(lambda folder: write_bridge(folder), 250),
    "lerobot v2.1": Set(lambda folder: write_lerobot(folder, "v2.1", language=True), 220),
    "lerobot v3.1": Set(lambda folder: write_lerobot(folder, "v3.1", language=True), 250),
    "lerobot v3.0 images": Set(lambda folder: write_lerobot(folder, "v3.0", images="image"), 280),
    "hdf5": Set(lambda folder: write_tiny_episode(folder / "tiny.hdf5"), 200),
    "libero": Set(lambda folder: write_libero(folder / "turn_on_the_stove_demo.hdf5", demos=(0,)), 130),
    "robomimic": Set(lambda folder: write_robomimic(folder / "lift.hdf5", compression="gzip"), 120),
    "aloha": Set(lambda folder: write_aloha(folder / "episode_0.hdf5"), 100),
    "aloha, padded": Set(lambda folder: write_aloha(folder / "episode_0.hdf5", compressed=True), 100),
    "aloha, listed": Set(listed_aloha, 50),
    "images": Set(lambda folder: WRITERS["images"](folder), 300),
    "real Bridge, RLDS": Set(lambda folder: real("bridge_rlds/bridge_dataset", folder), 12),
    "real Bridge, LeRobot v3.0": Set(lambda folder: real("lerobot_v30_bridge_video", folder), 20),
    "real G1, LeRobot v2.1": Set(lambda folder: real("lerobot_v21_g1_partial", folder), 20),
}


def real(name: str, folder: Path) -> None:
    source = Path(__file__).parents[3] / "shared/data/episodes" / name
    if not source.exists():
        pytest.skip(f"{source} is not there")
    shutil.copytree(source, folder, dirs_exist_ok=True)


def mutated(data: bytes, choose: random.Random) -> bytes:
    """One to three faults: bytes changed, cut out, doubled, put in; mostly near either end, where structures are."""
    for _ in range(choose.randint(1, 3)):
        size, some = len(data), choose.randrange(1, 200)
        reach = min(size, 6000)
        at = choose.choice((choose.randrange(size), choose.randrange(reach), size - 1 - choose.randrange(reach)))
        kind = choose.randrange(8)
        if kind <= 2:
            out = bytearray(data)
            for _ in range(choose.randint(1, 8)):
                out[min(at + choose.randrange(some), size - 1)] = choose.randrange(256)
            data = bytes(out)
        elif kind == 3:
            data = data[:at] + choose.randbytes(8) + data[at + 8 :]
        elif kind == 4:
            data = data[:at] + data[at + some :] or b"\x00"
        elif kind == 5:
            data = data[:at] + data[at : at + some] + data[at:]
        elif kind == 6:
            data = data[:at] + choose.choice(CHUNKS) + data[at:]
        else:
            data = data[: max(1, at)]
    return data


def mutated_text(data: bytes, choose: random.Random) -> bytes:
    """A value exchanged for one that makes no sense."""
    places = list(TOKENS.finditer(data))
    if not places or choose.random() < 0.3:
        return mutated(data, choose)
    place = choose.choice(places)
    return data[: place.start()] + choose.choice(NASTY) + data[place.end() :]


def mutated_records(path: Path, data: bytes, choose: random.Random) -> bytes:
    """Half of the time such as checksums tell, else in one record whose checksum is made right again."""
    if choose.random() < 0.5:
        return mutated(data, choose)
    index = index_shard(path)
    number = choose.randrange(len(index))
    offset, length = int(index.offsets[number]), int(index.lengths[number])
    record = framed(mutated(data[offset : offset + length], choose))
    return data[: offset - 12] + record + data[offset + length + 4 :]


def change(path: Path, choose: random.Random) -> None:
    data = path.read_bytes()
    if path.suffix in TEXTS:
        path.write_bytes(mutated_text(data, choose))
    elif ".tfrecord" in path.name:
        path.write_bytes(mutated_records(path, data, choose))
    else:
        path.write_bytes(mutated(data, choose) if data else b"\x00")


def outcome(root: Path) -> str:
    """Lists, opens and steps through all that can be."""
    worst = "read"
    try:
        source = open_source(root)
        for entry in source.scan():
            if isinstance(entry, BrokenEpisode):
                assert entry.reason and "\n" not in entry.reason
                worst = "broken"
                continue
            try:
                episode = source.open(entry.id)
                for index in {0, episode.meta.length // 2, episode.meta.length - 1}:
                    episode.step(index)
                    episode.encoded_frame(episode.meta.cameras[-1], index)
            except UserError as error:
                assert str(error) and "\n" not in str(error)
                worst = "refused"
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        worst = "not recognised"
    return worst


def test_there_are_two_thousand_cases_and_every_format_has_some():
    assert sum(one.cases for name, one in SETS.items() if not name.startswith("real")) >= TOTAL
    assert {name.split()[0].rstrip(",") for name in SETS} >= {"rlds", "lerobot", "hdf5", "robomimic", "aloha", "images"}


@pytest.mark.slow
@pytest.mark.timeout(900)  # seconds, for a machine that does much else
@pytest.mark.parametrize("name", SETS)
def test_a_mutated_data_set_ends_in_a_sentence_or_in_success(name, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(hdf5_guard, "SILENCE_SECONDS", 3.0)
    one, choose = SETS[name], random.Random(zlib.crc32(name.encode()))
    root = tmp_path / "set"
    root.mkdir()
    one.write(root)
    assert outcome(root) == "read" or name.startswith("real")  # the partial download lacks episodes
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "LICENSE")
    process = psutil.Process()
    before, outcomes = process.memory_info().rss, dict.fromkeys(("read", "broken", "refused", "not recognised"), 0)
    for number in range(one.cases):
        path = files[number % len(files)]
        kept = path.with_name(f".{path.name}.kept")
        shutil.copyfile(path, kept)
        change(path, choose)
        begin = time.process_time()
        outcomes[outcome(root)] += 1
        assert time.process_time() - begin < SECONDS, (name, number)
        kept.replace(path)
    assert sum(outcomes.values()) == one.cases and outcomes["broken"] + outcomes["refused"] > one.cases // 20, outcomes
    assert process.memory_info().rss - before < MEMORY
    assert "Traceback" not in capfd.readouterr().err
