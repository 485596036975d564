"""The process that may die instead of this one, and damaged files of every foreign format."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.episodes import hdf5_guard
from models.errors import UserError
from tests.tiny_aloha import write_aloha
from tests.tiny_robomimic import write_robomimic

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_one_child_serves_many_files(tmp_path):
    paths = [write_aloha(tmp_path / f"{index}.hdf5", seed=index) for index in range(5)]
    for path in paths:
        hdf5_guard.check(path)
    child = hdf5_guard._child()
    hdf5_guard.check(write_robomimic(tmp_path / "r.hdf5"))
    assert hdf5_guard._child() is child


@pytest.mark.slow
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
