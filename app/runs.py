"""Model runs: one worker thread that runs policies on episodes, a step at a time, and keeps every step as a record.

Torch is imported by the worker alone, when the first run starts. Runs that several pages wait for take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import models
from analysis.records import capture_of
from analysis.running import GIGABYTE, Running, machine_memory
from app.library import Library
from app.policy_cache import PolicyCache, PolicyKey
from app.run_records import Asked, Record, find_record
from models.device_memory import device_memory
from models.errors import UserError
from models.policy import Policy

AUTOMATIC_PARAMETERS = 200_000_000  # larger checkpoints run when asked to
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


@dataclass
class Job:
    """A run under way. Only the worker and calls that hold the queue's lock touch it."""

    asked: Asked
    record: Record
    at: int = 0  # steps from here on come first
    state: State = State.QUEUED
    message: str = ""
    watched: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)  # of the steps run so far

    @property
    def policy(self) -> PolicyKey:
        return PolicyKey(self.record.spec.digest, self.record.spec.family, self.asked.action_stats)

    def next_step(self) -> int | None:
        """The step to run next: the first missing one from ``at`` on, then from the start."""
        done = self.record.run.steps_done()
        order = [*range(self.at, self.record.length), *range(self.at)]
        return next((step for step in order if step not in done), None)


class RunQueue:
    """Starts, stops and reports runs; all methods may be called from any thread and return at once."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._jobs: OrderedDict[Asked, Job] = OrderedDict()
        self._policies: PolicyCache | None = None  # made by the worker
        self._found: dict[str, Record] = {}  # by address: what was answered with
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def record(self, asked: Asked) -> Record:
        """See `find_record`."""
        record = find_record(self._library, asked)
        self._found[record.run.address] = record
        return record

    def stored(self, asked: Asked, address: str) -> Record:
        """The record at ``address`` if it was answered with before, else what `record` says; raises as that does."""
        return self._found.get(address) or self.record(asked)

    def start(self, asked: Asked, at: int) -> None:
        """Queues the run, or moves a queued one to step ``at``. Raises UserError for what cannot be run."""
        with self._changed:
            job = self._jobs.get(asked)
            if job is not None and job.state.busy:
                job.at, job.watched = min(max(0, at), job.record.length - 1), time.monotonic()
                return
            record = self.record(asked)
            self._jobs[asked] = Job(asked, record, at=min(max(0, at), record.length - 1))
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
        """The job whose turn it is; takes turns so that two compared checkpoints fill in together.

        One whose policy does not fit in memory beside those of the others under way waits until they are done.
        """
        busy = [job for job in self._jobs.values() if job.state.busy and not self._unwatched(job)]
        loaded = self._loaded(busy)
        fitting = [job for job in busy if job.policy in loaded or self._fits(job, loaded)]
        job = next(iter(fitting or busy), None)
        if job is not None:
            self._jobs.move_to_end(job.asked)
        return job

    def _unwatched(self, job: Job) -> bool:
        """Stops a job that no page asks about."""
        if time.monotonic() - job.watched <= UNWATCHED_SECONDS:
            return False
        job.state, job.message = State.IDLE, "The run was stopped because no page was showing it."
        return True

    def _loaded(self, jobs: Iterable[Job]) -> set[PolicyKey]:
        """Policies in memory that these jobs need."""
        return {job.policy for job in jobs if self._policies is not None and job.policy in self._policies}

    def _fits(self, job: Job, needed: set[PolicyKey]) -> bool:
        return self._policies is None or self._policies.fits(self._running.memory_of(job.record.spec), needed)

    def _advance(self, job: Job) -> None:
        try:
            policy = self._policy(job)
            step = job.next_step()
            if step is not None:
                self._set(job, State.RUNNING)
                self._run_step(job, policy, step)
            if step is None or job.next_step() is None:
                job.record.run.finish(job.record.length)
                self._set(job, State.COMPLETE)
        except UserError as error:
            self._set(job, State.FAILED, str(error))
        except Exception:
            # A bug in one run must not end the thread that all runs share; the log keeps its traceback.
            log.exception("run of checkpoint %s on episode %s failed", job.record.spec.name, job.asked.episode)
            self._set(job, State.FAILED, "The run failed with an internal error; the server's log has the details.")

    def _run_step(self, job: Job, policy: Policy, step: int) -> None:
        began = time.monotonic()
        observation = self._library.read(
            job.asked.dataset, job.asked.episode, lambda episode: episode.step(step)
        ).observation
        run = job.record.run
        run.write(step, policy.predict(job.record.cameras.seen(observation), capture_of(run.key)))
        job.seconds.append(time.monotonic() - began)

    def _policy(self, job: Job) -> Policy:
        if self._policies is None:
            self._policies = PolicyCache(_budget(self._running))
        spec, running = job.record.spec, self._running

        def load() -> Policy:
            self._set(job, State.LOADING)
            return models.load(
                spec.path,
                action_stats=job.asked.action_stats,
                family=spec.family,
                device=running.device,
                dtype=running.number_type(spec),
                base=self._library.workspace.base_of(spec),
                known_digest=spec.digest,
            )

        with self._changed:
            needed = self._loaded(other for other in self._jobs.values() if other.state.busy)
        return self._policies.get(job.policy, running.memory_of(spec), needed, load)

    @property
    def _running(self) -> Running:
        return self._library.workspace.running

    def _set(self, job: Job, state: State, message: str = "") -> None:
        with self._changed:
            stopped = job.state is State.IDLE and state in (State.LOADING, State.RUNNING)
            if not stopped:
                job.state, job.message = state, message


def _budget(running: Running) -> int:
    """Bytes that policies may take: what the workspace says, else half of the device's memory."""
    if running.memory_gb is not None:
        return int(running.memory_gb * GIGABYTE)
    own = device_memory(running.device)
    return (machine_memory() if own is None else own) // 2


_queues: dict[int, RunQueue] = {}
_making = threading.Lock()


def queue_of(library: Library) -> RunQueue:
    """The one queue of a library in this process."""
    with _making:
        return _queues.setdefault(id(library), RunQueue(library))
