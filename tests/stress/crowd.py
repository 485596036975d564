"""Many annotators at once, each a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

from analysis.review import Project, ProjectSettings, ReviewStore, Source
from models.types import Rationale
from tests.stress.annotator import Habits, annotate
from tests.stress.checks import Found, check_store

Context = multiprocessing.get_context("forkserver")
Context.set_forkserver_preload(["tests.stress.annotator"])


def make_project(address: str, items: int, overlap: int, lease: float) -> Project:
    said = [Rationale({"observation": f"block {n}", "planning": "lift it"}, 0, 4, "teacher") for n in range(items)]
    sources = [Source("data", f"episode {n}", "d16e57", "lift the block", one) for n, one in enumerate(said)]
    settings = ProjectSettings("stress", overlap=overlap, lease_seconds=lease)
    return ReviewStore.open(address).create_project(settings, sources, "lead")


def crowd(
    address: str, folder: Path, annotators: int, reviews: int, items: int, overlap: int, lease: float
) -> tuple[Found, float]:
    """Lets them all review at the same time; the figures, checked, and the seconds that it took."""
    project = make_project(address, items, overlap, lease)
    logs = [folder / f"annotator-{number}.log" for number in range(annotators)]
    habits = Habits("", 0, reviews)
    processes = [
        Context.Process(target=annotate, args=(address, project.id, replace(habits, name=log.stem, seed=n), log))
        for n, log in enumerate(logs)
    ]
    began = time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    took = time.monotonic() - began
    assert [process.exitcode for process in processes] == [0] * annotators, "an annotator's process failed"
    return check_store(address, project.id, logs), took
