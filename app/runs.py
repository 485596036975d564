"""Model runs: one worker thread that runs policies on episodes, a step at a time, and keeps every step as a record.

Torch is imported by the worker alone, when the first run starts. Runs that several pages wait for take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum

import models
from analysis.records import Run, capture_key, capture_of
from app.library import Library
from models.errors import UserError
from models.policy import Policy
from models.types import Capture, CheckpointSpec, Part

AUTOMATIC_PARAMETERS = 200_000_000  # larger checkpoints run when asked to
KEPT_POLICIES = 2  # what Compare needs
ALL_ROWS = Capture(queries=tuple(Part), prefix=True)  # what rollout needs
UNWATCHED_SECONDS = 30.0  # a run that no page asks about stops; its steps are kept

log = logging.getLogger(__name__)


class State(StrEnum):
    IDLE = "idle"
    QUEUED = "queued"
    LOADING = "loading"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"

    @property
    def busy(self) -> bool:
        return self in (State.QUEUED, State.LOADING, State.RUNNING)


@dataclass(frozen=True)
class Asked:
    """Which checkpoint on which episode, how its actions are un-normalised, and what is kept of the run."""

    dataset: str
    episode: str
    checkpoint: str  # digest
    action_stats: str | None = None  # data set whose statistics are used; None: the only one of the checkpoint
    all_rows: bool = False  # also the rows of the prompt's own tokens; else a run without them will do

    @property
    def capture(self) -> Capture:
        """What a run that is started for this keeps."""
        return ALL_ROWS if self.all_rows else Capture()


@dataclass
class Job:
    """A run under way. Only the worker and calls that hold the queue's lock touch it."""

    asked: Asked
    run: Run
    length: int
    spec: CheckpointSpec
    at: int = 0  # steps from here on come first
    state: State = State.QUEUED
    message: str = ""
    watched: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)  # of the steps run so far

    def next_step(self) -> int | None:
        """The step to run next: the first missing one from ``at`` on, then from the start."""
        done = self.run.steps_done()
        order = [*range(self.at, self.length), *range(self.at)]
        return next((step for step in order if step not in done), None)


class RunQueue:
    """Starts, stops and reports runs; all methods may be called from any thread and return at once."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._jobs: OrderedDict[Asked, Job] = OrderedDict()
        self._policies: OrderedDict[tuple[str, str | None], Policy] = OrderedDict()  # by digest and action statistics
        self._found: dict[str, Run] = {}  # by address: runs that were answered with
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def record(self, asked: Asked) -> tuple[Run, int, CheckpointSpec]:
        """The stored run with the most steps for what is asked, else the one that a start would fill; and the length.

        Of runs with as many steps, one with all rows is preferred. Raises UserError for a checkpoint or an episode that
        is not in the workspace.
        """
        meta = self._library.episode(asked.dataset, asked.episode).meta
        spec = self._library.workspace.checkpoint(asked.checkpoint)
        records = self._library.workspace.records
        stored = [run for run in records.runs(meta.digest, spec.digest) if _serves(run, asked, spec)]
        own = records.run(capture_key(spec.digest, meta.digest, asked.capture, action_stats=asked.action_stats))
        best = max([own, *stored], key=lambda run: (len(run.steps_done()), _has_all_rows(run)))
        self._found[best.address] = best
        return best, meta.length, spec

    def stored(self, asked: Asked, address: str) -> Run:
        """The run at ``address`` if it was answered with before, else what `record` says; raises UserError as that."""
        return self._found.get(address) or self.record(asked)[0]

    def start(self, asked: Asked, at: int) -> None:
        """Queues the run, or moves a queued one to step ``at``. Raises UserError for what cannot be run."""
        with self._changed:
            job = self._jobs.get(asked)
            if job is not None and job.state.busy:
                job.at, job.watched = min(max(0, at), job.length - 1), time.monotonic()
                return
            run, length, spec = self.record(asked)
            self._jobs[asked] = Job(asked, run, length, spec, at=min(max(0, at), length - 1))
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="model runs", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def stop(self, asked: Asked) -> None:
        """The step under way is finished and kept; no further one is begun."""
        with self._changed:
            job = self._jobs.get(asked)
            if job is not None and job.state is not State.FAILED:
                job.state = State.IDLE

    def job(self, asked: Asked) -> Job | None:
        """The run as the queue knows it, if it was ever started here; marks it as watched."""
        with self._changed:
            job = self._jobs.get(asked)
            if job is not None:
                job.watched = time.monotonic()
            return job

    def _work(self) -> None:
        while True:
            with self._changed:
                while (job := self._next_job()) is None:
                    self._changed.wait()
            self._advance(job)

    def _next_job(self) -> Job | None:
        """The job whose turn it is; takes turns so that two compared checkpoints fill in together."""
        for asked, job in list(self._jobs.items()):
            if not job.state.busy:
                continue
            if time.monotonic() - job.watched > UNWATCHED_SECONDS:
                job.state, job.message = State.IDLE, "The run was stopped because no page was showing it."
                continue
            self._jobs.move_to_end(asked)
            return job
        return None

    def _advance(self, job: Job) -> None:
        try:
            policy = self._policy(job)
            step = job.next_step()
            if step is not None:
                self._set(job, State.RUNNING)
                self._run_step(job, policy, step)
            if step is None or job.next_step() is None:
                job.run.finish(job.length)
                self._set(job, State.COMPLETE)
        except UserError as error:
            self._set(job, State.FAILED, str(error))
        except Exception:
            # A bug in one run must not end the thread that all runs share; the log keeps its traceback.
            log.exception("run of checkpoint %s on episode %s failed", job.spec.name, job.asked.episode)
            self._set(job, State.FAILED, "The run failed with an internal error; the server's log has the details.")

    def _run_step(self, job: Job, policy: Policy, step: int) -> None:
        began = time.monotonic()
        observation = self._library.read(
            job.asked.dataset, job.asked.episode, lambda episode: episode.step(step)
        ).observation
        job.run.write(step, policy.predict(observation, capture_of(job.run.key)))
        job.seconds.append(time.monotonic() - began)

    def _policy(self, job: Job) -> Policy:
        key = (job.spec.digest, job.asked.action_stats)
        if key not in self._policies:
            self._set(job, State.LOADING)
            while len(self._policies) >= KEPT_POLICIES:
                self._policies.popitem(last=False)
            self._policies[key] = models.load(job.spec.path, action_stats=job.asked.action_stats)
        self._policies.move_to_end(key)
        return self._policies[key]

    def _set(self, job: Job, state: State, message: str = "") -> None:
        with self._changed:
            stopped = job.state is State.IDLE and state in (State.LOADING, State.RUNNING)
            if not stopped:
                job.state, job.message = state, message


def _serves(run: Run, asked: Asked, spec: CheckpointSpec) -> bool:
    """Whether the run is what is asked for; naming the only action statistics or the family changes nothing."""
    only = spec.action_stats[0] if len(spec.action_stats) == 1 else None
    settings = run.key.settings
    return (
        run.key.method == "predict"
        and (_has_all_rows(run) or not asked.all_rows)
        and (settings.get("action_stats") or only) == (asked.action_stats or only)
        and settings.get("family") in (None, spec.family)
    )


def _has_all_rows(run: Run) -> bool:
    settings = capture_key("", "", ALL_ROWS).settings
    return all(run.key.settings.get(name, 0) == settings[name] for name in ("layers", "queries", "prefix"))


_queues: dict[int, RunQueue] = {}
_making = threading.Lock()


def queue_of(library: Library) -> RunQueue:
    """The one queue of a library in this process."""
    with _making:
        return _queues.setdefault(id(library), RunQueue(library))
