"""Model runs in the background, with a fake policy in place of a checkpoint."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import models
from analysis.records import Run, capture_key
from analysis.workspace import Workspace
from app import runs
from app.library import Library
from app.run_records import ALL_ROWS, Asked
from app.run_status import StepSummaries, run_status
from app.runs import RunQueue, State
from models.errors import UserError
from models.types import Capture, Observation, Part, Prediction
from tests.browser.world import checkpoint_named, synthetic_prediction, write_synthetic_episode
from tests.tiny_checkpoints import write_action_token_paligemma

STEPS = 6


class Scripted:
    """Answers at once, or when it is allowed to."""

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.allowed.set()
        self.captures: list[Capture] = []

    def predict(self, observation: Observation, capture: Capture) -> Prediction:
        self.captures.append(capture)
        self.allowed.wait(20)
        return synthetic_prediction(0, words=4, layers=1, heads=1)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    write_synthetic_episode(tmp_path / "episodes" / "one.hdf5", STEPS, id="one")
    write_action_token_paligemma(
        tmp_path / "checkpoints" / "base", rationale=False, name="base", image_size=32, layers=1
    )
    (tmp_path / "workspace.toml").write_text('episodes = ["episodes"]\ncheckpoints = ["checkpoints"]\n')
    return Library(Workspace.open(tmp_path))


@pytest.fixture
def asked(library: Library) -> Asked:
    digest = checkpoint_named(library.workspace.path, "base").digest
    return Asked(library.workspace.datasets()[0].name, "one", digest)


def wait_for(queue: RunQueue, asked: Asked, *states: State) -> State:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        job = queue.job(asked)
        if job is not None and job.state in states:
            return job.state
        time.sleep(0.01)
    raise AssertionError(f"still {job.state if job else None}, waited for {states}")


def test_a_run_begins_at_the_step_that_is_looked_at(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda path, **_: Scripted())
    queue, seen = RunQueue(library), []
    record = queue.record(asked).run
    original = type(record).write
    monkeypatch.setattr(
        type(record), "write", lambda self, step, value: (seen.append(step), original(self, step, value))
    )
    queue.start(asked, at=4)
    wait_for(queue, asked, State.COMPLETE)
    assert seen == [4, 5, 0, 1, 2, 3]
    assert queue.record(asked).run.complete


@pytest.mark.slow
def test_status_tells_only_what_is_new(library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda path, **_: Scripted())
    queue, summaries = RunQueue(library), StepSummaries()
    before = run_status(queue, summaries, asked, "")
    assert (before["state"], before["automatic"], before["captured"]) == (State.IDLE, True, 0)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.COMPLETE)
    after = run_status(queue, summaries, asked, before["revision"])
    assert (after["state"], after["captured"], len(after["steps"])) == (State.COMPLETE, STEPS, STEPS)
    assert run_status(queue, summaries, asked, after["revision"])["steps"] == {}


def stored(library: Library, asked: Asked, capture: Capture, steps: int) -> Run:
    """A run as another process would have left it."""
    digest = library.episode(asked.dataset, asked.episode).meta.digest
    run = library.workspace.records.run(capture_key(asked.checkpoint, digest, capture))
    for step in range(steps):
        run.write(step, synthetic_prediction(step, words=4, layers=1, heads=1))
    return run


@pytest.mark.slow
def test_all_rows_go_into_a_record_of_their_own(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Scripted()
    monkeypatch.setattr(models, "load", lambda path, **_: policy)
    plain = stored(library, asked, Capture(), STEPS)
    queue, everything = RunQueue(library), replace(asked, all_rows=True)
    assert queue.record(everything).run.steps_done() == frozenset()
    queue.start(everything, at=0)
    wait_for(queue, everything, State.COMPLETE)
    assert [(set(capture.queries), capture.prefix) for capture in policy.captures] == [(set(Part), True)] * STEPS
    assert queue.record(everything).run.address != plain.address
    assert queue.record(asked).run.address == queue.record(everything).run.address  # as many steps, more rows


@pytest.mark.slow
def test_a_record_with_all_rows_is_not_hidden_by_the_apps_own(library: Library, asked: Asked) -> None:
    queue, summaries = RunQueue(library), StepSummaries()
    own = stored(library, asked, Capture(), 3)
    whole = stored(library, asked, ALL_ROWS, 2)
    assert queue.record(asked).run == own
    assert queue.record(replace(asked, all_rows=True)).run == whole
    stored(library, asked, ALL_ROWS, 3)
    assert queue.record(asked).run == whole
    status = run_status(queue, summaries, asked, f"{own.address}:3")
    assert [step["version"] for step in status["steps"].values()] == [whole.address] * 3
    assert queue.stored(asked, own.address).run == own  # a link to a step keeps its meaning


def test_a_record_with_the_vision_towers_rows_is_preferred(library: Library, asked: Asked) -> None:
    stored(library, asked, Capture(), 2)
    seeing = stored(library, asked, Capture(vision=True), 2)
    assert RunQueue(library).record(asked).run == seeing


def test_a_half_filled_record_goes_on_with_what_it_keeps(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Scripted()
    monkeypatch.setattr(models, "load", lambda path, **_: policy)
    stored(library, asked, ALL_ROWS, STEPS - 1)
    queue = RunQueue(library)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.COMPLETE)
    assert [capture.prefix for capture in policy.captures] == [True]


@pytest.mark.slow
def test_runs_with_different_action_statistics_do_not_mix(library: Library, asked: Asked, tmp_path: Path) -> None:
    write_action_token_paligemma(
        tmp_path / "checkpoints" / "two", rationale=False, name="two", norm_stats=("bridge", "fractal"), seed=3
    )
    digest = checkpoint_named(tmp_path, "two").digest
    bridge, fractal = (replace(asked, checkpoint=digest, action_stats=name) for name in ("bridge", "fractal"))
    queue = RunQueue(library)
    for each in (bridge, fractal):
        queue.start(each, at=0)
        wait_for(queue, each, State.COMPLETE)
    runs_made = [queue.record(each).run for each in (bridge, fractal)]
    assert [run.key.settings["action_stats"] for run in runs_made] == ["bridge", "fractal"]
    assert all(run.steps_done() == set(range(STEPS)) for run in runs_made)
    unsaid = replace(bridge, action_stats=None)
    status = run_status(queue, StepSummaries(), unsaid, "")
    assert not status["automatic"]
    assert status["message"] == "Choose in the side bar whose statistics scale the actions: bridge, fractal."
    queue.start(unsaid, at=0)
    wait_for(queue, unsaid, State.FAILED)
    assert "action_stats of bridge, fractal" in queue.job(unsaid).message


def test_naming_the_only_action_statistics_is_the_same_run(library: Library, asked: Asked) -> None:
    only = checkpoint_named(library.workspace.path, "base").action_stats[0]
    digest = library.episode(asked.dataset, asked.episode).meta.digest
    run = library.workspace.records.run(capture_key(asked.checkpoint, digest, Capture(), action_stats=only))
    run.write(0, synthetic_prediction(0, words=4, layers=1, heads=1))
    assert RunQueue(library).record(asked).run == run


def test_stopping_keeps_what_is_done(library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Scripted()
    policy.allowed.clear()
    monkeypatch.setattr(models, "load", lambda path, **_: policy)
    queue = RunQueue(library)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.RUNNING)
    queue.stop(asked)
    policy.allowed.set()
    wait_for(queue, asked, State.IDLE)
    time.sleep(0.1)
    assert queue.record(asked).run.steps_done() <= {0}


def test_a_checkpoint_that_cannot_be_loaded_fails_with_its_sentence(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, **_: object) -> None:
        raise UserError("the weights lack q_proj")

    monkeypatch.setattr(models, "load", refuse)
    queue = RunQueue(library)
    queue.start(asked, at=0)
    assert wait_for(queue, asked, State.FAILED) is State.FAILED
    assert queue.job(asked).message == "the weights lack q_proj"


@pytest.mark.slow
def test_a_bug_fails_one_run_and_not_the_worker(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load", lambda path, **_: 1 / 0)
    queue = RunQueue(library)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.FAILED)
    assert "internal error" in queue.job(asked).message
    monkeypatch.setattr(models, "load", lambda path, **_: Scripted())
    queue.start(asked, at=0)
    wait_for(queue, asked, State.COMPLETE)


def test_a_run_that_nobody_watches_stops(library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "UNWATCHED_SECONDS", -1.0)
    queue = RunQueue(library)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.IDLE)
    assert "no page was showing it" in queue.job(asked).message


@pytest.fixture
def two(library: Library, asked: Asked) -> Asked:
    """The same checkpoint on an episode with two cameras."""
    write_synthetic_episode(
        library.workspace.path / "episodes" / "two.hdf5", STEPS, id="two", cameras=("front", "wrist")
    )
    return replace(asked, episode="two")


class Seeing(Scripted):
    """Remembers which images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, ...]] = []

    def predict(self, observation: Observation, capture: Capture) -> Prediction:
        self.seen.append(tuple(observation.images))
        return super().predict(observation, capture)


@pytest.mark.slow
def test_another_camera_is_another_record(library: Library, two: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Seeing()
    monkeypatch.setattr(models, "load", lambda path, **_: policy)
    queue, wrist = RunQueue(library), replace(two, cameras=("wrist",))
    assert queue.record(replace(two, cameras=("front",))).run == queue.record(two).run
    for each in (two, wrist):
        queue.start(each, at=0)
        wait_for(queue, each, State.COMPLETE)
    assert policy.seen == [("front",)] * STEPS + [("wrist",)] * STEPS
    assert queue.record(two).run.address != queue.record(wrist).run.address
    assert run_status(queue, StepSummaries(), wrist, "")["cameras"] == {"wrist": "wrist"}


def test_a_camera_that_is_not_there_is_said(library: Library, two: Asked) -> None:
    with pytest.raises(UserError, match="no camera 'nose'; its cameras are front, wrist"):
        RunQueue(library).record(replace(two, cameras=("nose",)))


@pytest.mark.slow
def test_the_recognised_family_is_the_same_run_and_another_is_not(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, opened = RunQueue(library), library.workspace.checkpoint
    monkeypatch.setattr(
        type(library.workspace),
        "checkpoint",
        lambda self, digest, family=None: replace(opened(digest), family=family or "paligemma"),
    )
    own = queue.record(asked).run
    assert queue.record(replace(asked, family="paligemma")).run == own
    other = queue.record(replace(asked, family="talking"))
    assert other.run != own and other.run.key.settings["family"] == "talking"
    own.write(0, synthetic_prediction(0, words=4, layers=1, heads=1))
    assert queue.record(replace(asked, family="talking")).run == other.run


def set_up(library: Library, *lines: str) -> Library:
    """The same workspace with more said in its configuration."""
    path = library.workspace.path
    config = path / "workspace.toml"
    config.write_text("\n".join((*config.read_text().splitlines(), *lines)))
    return Library(Workspace.open(path))


def test_a_workspace_says_device_and_number_type(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(models, "load", lambda path, **given: (told.append(given), Scripted())[1])
    library = set_up(library, 'dtype = "bfloat16"')
    queue = RunQueue(library)
    queue.start(asked, at=0)
    wait_for(queue, asked, State.COMPLETE)
    assert (told[0]["device"], told[0]["dtype"], told[0]["known_digest"]) == ("cpu", "bfloat16", asked.checkpoint)
    assert queue.record(asked).run.key.settings["dtype"] == "bfloat16"


@pytest.mark.slow
def test_policies_that_do_not_fit_together_run_one_after_the_other(
    library: Library, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_action_token_paligemma(
        library.workspace.path / "checkpoints" / "two", rationale=False, name="two", image_size=32, layers=1, seed=4
    )
    other = replace(asked, checkpoint=checkpoint_named(library.workspace.path, "two").digest)
    order = compared(library, asked, other, monkeypatch, memory_gb=1.0)
    assert set(order[:4]) == {"base", "two"}, "both fit: they take turns"
    for each in (asked, other):
        shutil.rmtree(RunQueue(library).record(each).run.path)
    order = compared(library, asked, other, monkeypatch, memory_gb=0.0001)
    assert order in (["base"] * STEPS + ["two"] * STEPS, ["two"] * STEPS + ["base"] * STEPS)


def compared(
    library: Library, one: Asked, other: Asked, monkeypatch: pytest.MonkeyPatch, memory_gb: float
) -> list[str]:
    """Which checkpoint predicted, step by step, where two runs are started together."""
    order: list[str] = []
    gate = threading.Event()

    class Named(Scripted):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def predict(self, observation: Observation, capture: Capture) -> Prediction:
            gate.wait(20)
            order.append(self.name)
            return super().predict(observation, capture)

    monkeypatch.setattr(models, "load", lambda path, **_: Named(Path(path).name))
    workspace = library.workspace
    library = Library(replace(workspace, running=replace(workspace.running, memory_gb=memory_gb)))
    queue = RunQueue(library)
    for each in (one, other):
        queue.start(each, at=0)
    gate.set()
    for each in (one, other):
        wait_for(queue, each, State.COMPLETE)
    return order
