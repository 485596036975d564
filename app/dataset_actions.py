"""Action statistics for a page: kept ones at once, others from a task in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.action_statistics import DatasetActions, StoredActions, dataset_actions
from app.library import Library
from app.tasks import Progress, Task, TaskState, tasks_of

UNWATCHED_SECONDS = 120.0


@dataclass(frozen=True)
class ActionsNow:
    """One of the two is there."""

    actions: DatasetActions | None
    task: Task | None


def actions_of(library: Library, dataset: str, sample: int | None) -> ActionsNow:
    """The statistics over ``sample`` episodes, or all; starts a task where they are not kept."""
    index = library.workspace.index
    state = index.states().get(dataset)
    stamp = state.stamp if state is not None and state.complete else ""
    kept = StoredActions(library.workspace.path / "cache" / "statistics")
    if stamp and (found := kept.read(dataset, stamp, sample)) is not None:
        return ActionsNow(found, None)

    def work(_: tuple[Any, ...], progress: Progress, cancelled: Callable[[], bool]) -> DatasetActions:
        actions = dataset_actions(index, dataset, library.workspace.source(dataset), sample, progress)
        if stamp:
            kept.write(dataset, stamp, sample, actions)
        return actions

    task = tasks_of(library).submit(
        ("action statistics", dataset, stamp, sample),
        work,
        title="Reads actions",
        unwatched_seconds=UNWATCHED_SECONDS,
    )
    return ActionsNow(task.result if task.state is TaskState.DONE else None, task)
