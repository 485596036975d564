"""Tries HDF5 files of unknown origin in a process that may die: damage can make the HDF5 library crash or hang.

One child (`hdf5_trial`) serves many files and is replaced when it dies. What was found is remembered by path, size and
modification time, so that a file is tried once.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.episodes.file_bytes import Positions, remote_of
from analysis.episodes.hdf5_file import stamp
from models.errors import UserError

SILENCE_SECONDS = 15.0  # without a sign of life the child counts as hung; it gives one for each object that it reads
STARTING_SECONDS = 60.0  # allowed to a child that still has to import its libraries
TRIAL = Path(__file__).with_name("hdf5_trial.py")
REMEMBERED = 100_000  # files


@dataclass(frozen=True)
class Part:
    """What of a file is tried; the groups on the way there are, too."""

    below: tuple[str, ...] | None = None  # paths of groups, with all that is in them; None: everything
    outline: tuple[str, ...] = ()  # paths of groups of which only names and attributes are wanted
    rows: bool = False  # only the middle row of each dataset that is large: what a list reads


WHOLE = Part()
OUTLINE = Part((), outline=("data", "observations"))  # what tells the layout of a file

_found: dict[tuple[str, int, int, Part], str] = {}  # (path, size, mtime in ns, part) -> why not; empty: good
_lock = threading.Lock()
_children: dict[int, _Child] = {}  # process id of the owner -> its child: after a fork the pipes belong to the other


def check(path: Path, part: Part = WHOLE) -> None:
    """Returns if reading ``part`` of ``path`` does not crash or hang the HDF5 library, which is tried once for each.

    Costs about a quarter of a second for the first file, some milliseconds for each further one, nothing for a file
    that was tried before. Raises UserError for a file that must not be read.
    """
    key = (str(path), *stamp(path), part)
    if key not in _found:
        with _lock:
            if key not in _found:
                if len(_found) >= REMEMBERED:
                    _found.clear()
                _found[key] = _child().try_file(path, part)
    if _found[key]:
        raise UserError(f"{path.name} {_found[key]}; it is probably damaged, copy it again or leave it out")


class _Child:
    """One running trial process."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(TRIAL)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # threads reserve address space, which is limited
            )
        except OSError as error:
            raise UserError(f"no process could be started to try HDF5 files in: {error.strerror}") from None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._answered = False
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def try_file(self, path: Path, part: Part) -> str:
        """Why the file must not be read; empty if it may. Raises UserError where a remote file cannot be had."""
        remote = remote_of(path)
        file = None if remote is None else remote.positions(path)
        size = None if file is None else path.stat().st_size
        if not self._tell({"path": str(path), "size": size, **asdict(part)}):
            return "could not be tried, because the process that tries HDF5 files ended"
        while True:
            try:
                line = self._lines.get(timeout=SILENCE_SECONDS if self._answered else STARTING_SECONDS)
            except queue.Empty:
                self.stop()
                return f"makes the HDF5 library hang (nothing was read for {SILENCE_SECONDS:g} seconds)"
            self._answered = True
            if line == "":
                self.stop()
                return "makes the HDF5 library crash"
            if line.startswith("?"):
                self._give(file, *(int(number) for number in line[1:].split()))
            elif line != ".\n":
                return str(json.loads(line))

    def _give(self, file: Positions | None, start: int, stop: int) -> None:
        """Hands the child a piece of a remote file: it has no access of its own."""
        try:
            data = b"" if file is None else file.pread(stop - start, start)
        except UserError:
            self.stop()  # what it would find without the piece says nothing about the file
            raise
        self._tell(base64.b64encode(data).decode())

    def _tell(self, value: object) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()
        except OSError:
            self.stop()
            return False
        return True

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        """Hands on each line, and an empty one when the process has ended. A thread, as pipes have no time limit."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


def _child() -> _Child:
    found = _children.get(os.getpid())
    if found is None or not found.alive:
        found = _children[os.getpid()] = _Child()
    return found


@atexit.register
def _stop_child() -> None:
    if os.getpid() in _children:
        _children.pop(os.getpid()).stop()
