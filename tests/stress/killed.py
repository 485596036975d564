"""Writers, and the database server, killed with signal 9 at random moments."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from analysis.review import ReviewStore
from tests.postgres import Postgres
from tests.stress.annotator import Habits, annotate
from tests.stress.checks import Found, check_sqlite, check_store
from tests.stress.crowd import Context, make_project

WRITERS = 3
LONGEST = 0.8  # seconds from the first review of a round to the kill
MANY = 1_000_000


@dataclass(frozen=True)
class Survived:
    rounds: int
    found: Found  # after the last round


def killed(address: str, folder: Path, rounds: int, seed: int, server: Postgres | None = None) -> Survived:
    """In each round writers review until they are killed; with ``server`` it is killed in every second round as well.

    Raises AssertionError if an acknowledged review is lost, or if the database does not open clean.
    """
    rng = random.Random(seed)
    project = make_project(address, items=rounds * 60 + 100, overlap=2, lease=1.0)
    logs: list[Path] = []
    for number in range(rounds):
        ours = [folder / f"round-{number}-{writer}.log" for writer in range(WRITERS)]
        habits = [Habits(log.stem, seed + number * WRITERS + writer, MANY, late=0) for writer, log in enumerate(ours)]
        writers = [
            Context.Process(target=annotate, args=(address, project.id, habit, log))
            for habit, log in zip(habits, ours, strict=True)
        ]
        for writer in writers:
            writer.start()
        _wait_for_a_review(ours)
        time.sleep(rng.random() * LONGEST)
        if server is not None and number % 2:
            server.kill()
            server.start()
            time.sleep(rng.random() * LONGEST / 2)
        for writer in writers:
            writer.kill()
        for writer in writers:
            writer.join()
        logs += ours
        found = _check(address, project.id, logs)
    return Survived(rounds, found)


def _wait_for_a_review(logs: list[Path]) -> None:
    until = time.monotonic() + 600
    while not any(log.exists() and log.stat().st_size for log in logs):
        assert time.monotonic() < until, "no writer got a review in"
        time.sleep(0.01)


def _check(address: str, project: str, logs: list[Path]) -> Found:
    found = check_store(address, project, [log for log in logs if log.exists()])
    if "://" not in address:
        check_sqlite(Path(address))
    store = ReviewStore.open(address)  # and it takes reviews as before
    (next_one, *_) = store.next_items(project, "after the kill", count=1)
    store.release(next_one.item.id, "after the kill")
    return found
