"""Writers of one SQLite file take turns, in the order in which they came.

SQLite's own waiting asks ever more seldom whether it may: of many writers, who has waited longest would get in last.
Here the system keeps the queue (a lock on a file beside), and lets the next one in when a writer ends or is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from threading import Event, Lock, Thread

from analysis.review.errors import ReviewsUnavailable


@contextmanager
def own_turn(path: Path, seconds: float) -> Iterator[None]:
    """Waits until the writers before have ended. Raises ReviewsUnavailable after ``seconds``.

    Where the lock's file cannot be made, or the file system has no locks, SQLite alone keeps writers apart.
    """
    try:
        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        yield
        return
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        _wait(handle, path, seconds)
    except OSError:  # no locks here
        pass
    try:
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, seconds: float) -> None:
    """In a thread, because the system's waiting knows no end; one that comes too late closes the file."""
    ours, given_up, came = Lock(), Event(), Event()

    def ask() -> None:
        try:
            flock(handle, LOCK_EX)
        finally:
            with ours:
                came.set()
                if given_up.is_set():
                    os.close(handle)

    Thread(target=ask, daemon=True, name="review-turn").start()
    came.wait(seconds)
    with ours:
        if came.is_set():
            return
        given_up.set()
    raise ReviewsUnavailable(f"the reviews in {path} cannot be used: another program has kept it locked; try again")
