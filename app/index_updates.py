"""Keeps the workspace's index of episodes up to date from a thread: at the start, and when pages are drawn."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace

from analysis.episodes import BrokenEpisode
from analysis.index_update import IndexProgress
from analysis.workspace import Workspace
from app.library import Library
from models.errors import UserError

REST_SECONDS = 5.0  # between two looks at the files
REST_SHARE = 20  # and this many times as long as the last look took

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexStatus:
    """How far the index is."""

    running: bool = False
    progress: IndexProgress | None = None  # of what is being read; None while only names of files are looked at
    problems: tuple[BrokenEpisode, ...] = ()  # annotations that cannot be used
    error: str = ""  # why the index cannot be used at all
    changes: int = 0  # how often something was found to have changed


class IndexUpdates:
    """Starts and reports updates; all methods may be called from any thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._status = IndexStatus()
        self._idle = threading.Condition()
        self._next = 0.0  # time.monotonic() before which nothing is looked at

    @property
    def status(self) -> IndexStatus:
        return self._status

    def look(self, now: bool = False) -> None:
        """Starts an update, unless one is under way or, without ``now``, one ended a moment ago."""
        with self._idle:
            if self._status.running or (time.monotonic() < self._next and not now):
                return
            self._status = replace(self._status, running=True, progress=None)
        threading.Thread(target=self._update, name="episode index", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Waits until no update is under way, at most so long; whether that came."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._status.running, seconds)

    def _update(self) -> None:
        began = time.monotonic()
        changes, problems, error = self._status.changes, self._status.problems, ""
        try:
            done = self._workspace.update_index(self._tell)
            problems, changes = done.problems, changes + bool(done.changed)
        except UserError as said:
            error = str(said)
        except Exception:
            log.exception("the episode index could not be brought up to date")
            error = "The list of episodes could not be brought up to date; the server's log has the details."
        finally:
            took = time.monotonic() - began
            with self._idle:
                self._next = time.monotonic() + max(REST_SECONDS, REST_SHARE * took)
                self._status = IndexStatus(problems=problems, error=error, changes=changes)
                self._idle.notify_all()

    def _tell(self, progress: IndexProgress) -> None:
        self._status = replace(self._status, progress=progress)


_updates: dict[int, IndexUpdates] = {}
_making = threading.Lock()


def updates_of(library: Library) -> IndexUpdates:
    """The updates of a library's index in this process."""
    with _making:
        return _updates.setdefault(id(library), IndexUpdates(library.workspace))
