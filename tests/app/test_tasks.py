"""Background tasks, with a fake policy in place of a checkpoint."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import models
from app import task_routes, tasks
from app.library import Library
from app.run_records import Asked
from app.runs import RunQueue, State
from app.shared_policies import PolicyChoice, SharedPolicies
from app.task_routes import Order, cancel_task, find_task, start_task
from app.tasks import Cancelled, Task, Tasks, TaskState, task_id
from models.errors import UserError
from models.types import Capture, Observation, Prediction
from tests.app.test_runs import STEPS, Scripted, asked, library, wait_for
from tests.browser.world import checkpoint_named
from tests.tiny_checkpoints import write_action_token_paligemma

__all__ = ["asked", "library"]  # fixtures


def ended(runner: Tasks, task: Task) -> Task:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = runner.find(task.id)
        assert found is not None
        if not found.state.busy:
            return found
        time.sleep(0.01)
    raise AssertionError(f"still {found}")


def test_work_without_a_policy_gives_its_result_once(library: Library) -> None:
    runner, calls = Tasks(library), []

    def work(policies: tuple[Any, ...], progress: tasks.Progress, cancelled: Any) -> int:
        calls.append(policies)
        for step in range(3):
            progress(step, 3)
        progress(3, 3)
        return 7

    first = ended(runner, runner.submit(("export", 1), work, title="Export"))
    assert (first.state, first.result, first.done, first.total) == (TaskState.DONE, 7, 3, 3)
    assert runner.submit(("export", 1), work) == first and calls == [()]
    runner.forget(("export", 1))
    assert runner.get(("export", 1)) is None
    ended(runner, runner.submit(("export", 1), work))
    assert len(calls) == 2


def test_failures_are_sentences(library: Library) -> None:
    runner = Tasks(library)

    def refuse(*_: Any) -> None:
        raise UserError("the frame has no carrot")

    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    assert ended(runner, runner.submit("a", refuse)).message == "the frame has no carrot"
    failed = ended(runner, runner.submit("b", bug))
    assert failed.state is TaskState.FAILED and "internal error" in failed.message
    assert ended(runner, runner.submit("b", lambda *_: 3)).result == 3, "what failed may be tried again"


def test_an_unknown_checkpoint_fails_with_its_sentence(library: Library) -> None:
    runner = Tasks(library)
    task = ended(runner, runner.submit("a", lambda *_: 1, [PolicyChoice("0" * 16)]))
    assert task.state is TaskState.FAILED and "has the digest" in task.message


def test_cancelling_ends_work_at_its_next_slice(library: Library) -> None:
    runner, begun, after = Tasks(library), threading.Event(), []

    def work(policies: tuple[Any, ...], progress: tasks.Progress, cancelled: Any) -> None:
        begun.set()
        try:
            while True:
                progress(1, 2)
                time.sleep(0.005)
        except Cancelled:
            after.append(cancelled())
            raise

    task = runner.submit("endless", work)
    assert begun.wait(20)
    runner.cancel(task.id)
    assert ended(runner, task).state is TaskState.CANCELLED
    deadline = time.monotonic() + 20
    while not after and time.monotonic() < deadline:
        time.sleep(0.01)
    assert after == [True]


def test_an_unwatched_task_is_cancelled(library: Library) -> None:
    runner, stopped = Tasks(library), threading.Event()

    def work(policies: tuple[Any, ...], progress: tasks.Progress, cancelled: Any) -> None:
        try:
            while True:
                progress(1, 2)
                time.sleep(0.005)
        except Cancelled:
            stopped.set()
            raise

    runner.submit("endless", work, unwatched_seconds=0.1)
    assert stopped.wait(20)


def test_only_the_latest_results_are_kept(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "KEPT", 2)
    runner = Tasks(library)
    for number in range(5):
        ended(runner, runner.submit(number, lambda *_: 0))
    kept = [number for number in range(5) if runner.find(task_id(number)) is not None]
    assert kept == [2, 3, 4]  # the newest was not yet ended when old ones were forgotten


class Alone(Scripted):
    """Notices when it is used twice at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.order = 0, list[str]()

    def predict(self, observation: Observation, capture: Capture) -> Prediction:
        self.enter("run")
        return super().predict(observation, capture)

    def enter(self, who: str) -> None:
        self.inside += 1
        assert self.inside == 1, "a run's step and a task's slice at once"
        time.sleep(0.01)
        self.order.append(who)
        self.inside -= 1


@pytest.mark.slow
def test_runs_and_tasks_take_turns_on_one_policy(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Alone] = []
    monkeypatch.setattr(models, "load", lambda path, **_: (opened.append(Alone()), opened[-1])[1])
    shared = SharedPolicies(library)
    runner, queue = Tasks(library, shared), RunQueue(library, shared)

    def work(policies: tuple[Any, ...], progress: tasks.Progress, cancelled: Any) -> str:
        if not opened[0].order:
            queue.start(asked, at=0)
        for number in range(STEPS):
            policies[0].enter("task")
            progress(number + 1, STEPS)
            time.sleep(0.02)  # time for the run to join the line
        return "done"

    task = ended(runner, runner.submit("slices", work, [PolicyChoice(asked.checkpoint)]))
    assert task.result == "done"
    wait_for(queue, asked, State.COMPLETE)
    order = opened[0].order
    assert len(opened) == 1 and order.count("run") == order.count("task") == STEPS
    assert "run" in order[:4], f"the run waited for the whole task: {order}"


@pytest.mark.slow
def test_a_run_waits_for_memory_that_a_task_holds(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda path, **_: Scripted())
    place = library.workspace.path / "checkpoints" / "two"
    write_action_token_paligemma(place, rationale=False, name="two", image_size=32, layers=1, seed=4)
    other = checkpoint_named(library.workspace.path, "two").digest
    workspace = library.workspace
    small = Library(replace(workspace, running=replace(workspace.running, memory_gb=0.0001)))
    shared = SharedPolicies(small)
    runner, queue, go = Tasks(small, shared), RunQueue(small, shared), threading.Event()

    def work(policies: tuple[Any, ...], progress: tasks.Progress, cancelled: Any) -> None:
        queue.start(asked, at=0)
        while not go.wait(0.01):
            progress(0, 1)

    task = runner.submit("holds", work, [PolicyChoice(other)])
    time.sleep(0.5)
    job = queue.job(asked)
    assert job is not None and job.state is State.QUEUED
    go.set()
    ended(runner, task)
    wait_for(queue, asked, State.COMPLETE)


def test_the_player_starts_asks_and_cancels(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_routes, "KINDS", {"double": f"{__name__}:order_double"})
    started = start_task(library, b'{"kind": "double", "number": 4}')
    deadline = time.monotonic() + 20
    while (facts := find_task(library, started["id"]))["state"] != "done" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert facts["result"] == 8
    assert cancel_task(library, started["id"])["state"] == "done"


def order_double(library: Library, given: dict[str, Any]) -> Order:
    return Order(("double", given["number"]), lambda *_: 2 * given["number"])


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"kind": "none"}', b"[" * 100_000, b"0" * 1_000_001])
def test_a_request_that_makes_no_sense_is_refused(library: Library, body: bytes) -> None:
    with pytest.raises(UserError):
        start_task(library, body)


def test_an_unknown_task_is_said(library: Library) -> None:
    with pytest.raises(UserError, match="no such task"):
        find_task(library, "nothing")


@pytest.mark.slow
def test_a_page_shows_the_bar_and_then_the_result(library: Library, tmp_path: Path) -> None:
    page = AppTest.from_function(_page)
    page.session_state["runner"] = runner = Tasks(library)
    page.session_state["go"] = go = threading.Event()
    page.run()
    assert page.button[0].label == "Cancel" and not page.exception
    go.set()
    ended(runner, runner.submit("page", lambda *_: 0))
    page.run()
    assert page.markdown[0].value == "result 5" and not page.exception


def _page() -> None:
    import streamlit as st

    from app.components.task_status import task_status

    def work(policies, progress, cancelled):  # type: ignore[no-untyped-def]
        progress(1, 4)
        go.wait(20)
        return 5

    runner, go = st.session_state["runner"], st.session_state["go"]
    task = task_status(runner, runner.submit("page", work, title="Work"))
    if task.result is not None:
        st.write(f"result {task.result}")
