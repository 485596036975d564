"""The process that may die instead of this one, and damaged files of every foreign format."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analysis.episodes import BrokenEpisode, EpisodeSource, hdf5_guard
from analysis.episodes.aloha import AlohaSource
from analysis.episodes.hdf5 import Hdf5Source
from analysis.episodes.image_folder import ImageFolderSource
from analysis.episodes.robomimic import RobomimicSource
from models.errors import UserError
from tests.tiny_aloha import CAMERAS, STEPS, jpeg, write_aloha
from tests.tiny_episode import write_tiny_episode
from tests.tiny_image_folder import write_image_folder
from tests.tiny_robomimic import write_libero, write_robomimic

FILES = 320  # mutated, over all formats
PLANTED = """
import json, os, sys, time
for line in sys.stdin:
    path = os.path.basename(json.loads(line)["path"])
    if "crash" in path:
        os.abort()
    if "hang" in path:
        time.sleep(60)
    print(".", flush=True)
    print(json.dumps("needs too much" if "big" in path else ""), flush=True)
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A trial process that crashes or hangs by the file's name."""
    trial = tmp_path / "trial.py"
    trial.write_text(PLANTED)
    monkeypatch.setattr(hdf5_guard, "TRIAL", trial)
    monkeypatch.setattr(hdf5_guard, "_children", {})
    monkeypatch.setattr(hdf5_guard, "_found", {})
    monkeypatch.setattr(hdf5_guard, "STARTING_SECONDS", 5.0)
    monkeypatch.setattr(hdf5_guard, "SILENCE_SECONDS", 0.5)
    yield tmp_path
    for child in hdf5_guard._children.values():
        child.stop()


def made(path: Path) -> Path:
    path.touch()
    return path


def test_a_crash_or_a_hang_is_an_answer_and_the_next_file_is_tried(planted):
    hdf5_guard.check(made(planted / "good"))
    with pytest.raises(UserError, match="crash makes the HDF5 library crash"):
        hdf5_guard.check(made(planted / "crash"))
    hdf5_guard.check(made(planted / "good again"))
    started = time.monotonic()
    with pytest.raises(UserError, match="hang makes the HDF5 library hang"):
        hdf5_guard.check(made(planted / "hang"))
    assert time.monotonic() - started < 5
    hdf5_guard.check(made(planted / "good at last"))
    with pytest.raises(UserError, match="big needs too much"):
        hdf5_guard.check(made(planted / "big"))


def test_a_file_is_tried_once_until_it_changes(planted):
    path = made(planted / "good")
    hdf5_guard.check(path)
    child = hdf5_guard._child()
    child.stop()
    hdf5_guard.check(path)  # needs no process
    assert hdf5_guard._children[os.getpid()] is child
    path.write_text("more")
    hdf5_guard.check(path)
    assert hdf5_guard._children[os.getpid()] is not child


def test_one_child_serves_many_files(tmp_path):
    paths = [write_aloha(tmp_path / f"{index}.hdf5", seed=index) for index in range(5)]
    for path in paths:
        hdf5_guard.check(path)
    child = hdf5_guard._child()
    hdf5_guard.check(write_robomimic(tmp_path / "r.hdf5"))
    assert hdf5_guard._child() is child


def libero(folder: Path) -> Path:
    return write_libero(folder / "turn_on_the_stove_demo.hdf5", demos=(0,))


def robomimic(folder: Path) -> Path:
    return write_robomimic(folder / "lift.hdf5", demos=(0, 1), compression="gzip")


def aloha(folder: Path) -> Path:
    return write_aloha(folder / "episode_0.hdf5")


def padded_aloha(folder: Path) -> Path:
    return write_aloha(folder / "episode_0.hdf5", compressed=True)


def ours(folder: Path) -> Path:
    return write_tiny_episode(folder / "tiny.hdf5")


def listed_aloha(folder: Path) -> Path:
    """JPEGs of variable length: the layout in which damage makes the HDF5 library crash or hang most often."""
    path = padded_aloha(folder)
    with h5py.File(path, "r+") as file:
        for name in [f"observations/images/{camera}" for camera in CAMERAS]:
            del file[name]
            data = file.create_dataset(name, shape=(STEPS,), dtype=h5py.vlen_dtype(np.uint8))
            for step in range(STEPS):
                data[step] = np.frombuffer(jpeg(0, step), np.uint8)
    return path


def damaged(data: bytes, chance: np.random.Generator) -> bytes:
    """Bytes changed, mostly in the first kilobytes where structures lie; sometimes cut short or a part zeroed."""
    out = bytearray(data)
    kind = chance.integers(10)
    if kind == 0:
        return bytes(out[: chance.integers(len(out))])
    if kind == 1:
        start = int(chance.integers(len(out)))
        out[start : start + 64] = bytes(len(out[start : start + 64]))
        return bytes(out)
    reach = len(out) if kind < 5 else min(len(out), 8000)
    for _ in range(int(chance.integers(1, 9))):
        out[chance.integers(reach)] = chance.integers(256)
    return bytes(out)


def read_everything(source: EpisodeSource) -> int:
    """Lists, opens and steps through all that can be; UserError is the only exception that is an answer."""
    read = 0
    for entry in source.scan():
        if isinstance(entry, BrokenEpisode):
            assert entry.reason and "\n" not in entry.reason
            continue
        try:
            episode = source.open(entry.id)
            for index in {0, episode.meta.length - 1}:
                episode.step(index)
                episode.encoded_frame(episode.meta.cameras[0], index)
            read += 1
        except UserError as error:
            assert str(error)
    return read


@pytest.mark.slow
def test_damaged_hdf5_files_end_in_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_guard, "SILENCE_SECONDS", 4.0)
    chance = np.random.default_rng(0)
    kinds: list[tuple[Callable[[Path], Path], type[EpisodeSource]]] = [
        (libero, RobomimicSource),
        (robomimic, RobomimicSource),
        (aloha, AlohaSource),
        (padded_aloha, AlohaSource),
        (listed_aloha, AlohaSource),
        (ours, Hdf5Source),
    ]
    originals = [(write(tmp_path / write.__name__), source) for write, source in kinds]
    contents = [path.read_bytes() for path, _ in originals]
    read = 0
    for index in range(FILES):
        (path, source), content = originals[index % len(kinds)], contents[index % len(kinds)]
        changed = tmp_path / str(index) / path.name
        changed.parent.mkdir()
        changed.write_bytes(damaged(content, chance))
        source.handles(changed)
        read += read_everything(source(changed))
        changed.unlink()
    assert 0 < read < FILES * 2  # some damage hits nothing that matters, some does


def test_damaged_image_folders_end_in_an_answer(tmp_path):
    chance = np.random.default_rng(1)
    read = 0
    for index in range(40):
        folder = write_image_folder(tmp_path / str(index))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for file in [folder / "actions.csv", folder / "episode.json", files[int(chance.integers(len(files)))]]:
            if chance.integers(2):
                file.write_bytes(damaged(file.read_bytes(), chance))
        read += read_everything(ImageFolderSource(folder))
    assert 0 < read < 40


def test_the_child_ends_with_its_parent(tmp_path):
    path = write_aloha(tmp_path / "e.hdf5")
    code = (
        "import sys; from pathlib import Path; from analysis.episodes import hdf5_guard as g; "
        "g.check(Path(sys.argv[1])); print(g._child()._process.pid, flush=True); import os; os._exit(1)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False).stdout
    child, deadline = int(out), time.monotonic() + 10
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat")
        return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:
        return False


def test_a_trial_that_dies_by_a_signal_is_a_crash(tmp_path):
    path = write_aloha(tmp_path / "e.hdf5")
    hdf5_guard.check(path)
    os.kill(hdf5_guard._child()._process.pid, signal.SIGSEGV)
    hdf5_guard._child()._process.wait()
    hdf5_guard.check(write_aloha(tmp_path / "f.hdf5"))  # a new child serves it
