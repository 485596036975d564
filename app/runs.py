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

from analysis.records import capture_of
from app.library import Library
from app.policy_cache import PolicyKey
from app.run_records import Asked, Record, find_record
from app.shared_policies import SharedPolicies, policies_of
from models.errors import UserError
from models.policy import Policy

AUTOMATIC_PARAMETERS = 200_000_000  # larger checkpoints run when asked to
UNWATCHED_SECONDS = 30.0  # a run that no page asks about stops; its steps are kept
LOOK_AGAIN_SECONDS = 0.5  # for memory that a task holds

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

    def __init__(self, library: Library, policies: SharedPolicies | None = None) -> None:
        """``policies``: shared with other background work; None: of this queue alone."""
        self._library = library
        self._jobs: OrderedDict[Asked, Job] = OrderedDict()
        self._policies = policies or SharedPolicies(library)
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
                while self._next_job() is None:
                    self._changed.wait(LOOK_AGAIN_SECONDS if self._busy() else None)
            with self._policies.turns.turn():
                with self._changed:
                    job = self._next_job()  # while others had their turn, a run may have been stopped
                    if job is not None:
                        self._jobs.move_to_end(job.asked)
                if job is not None:
                    self._advance(job)

    def _busy(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state.busy and not self._unwatched(job)]

    def _next_job(self) -> Job | None:
        """The job whose turn it is; they take turns, so that two compared checkpoints fill in together.

        One whose policy does not fit in memory beside those of the others under way waits until they are done.
        """
        busy = self._busy()
        loaded = {job.policy for job in busy if job.policy in self._policies}
        self._policies.need(self, loaded)
        tasks = self._policies.needed_by_others(self)
        fitting = [
            job for job in busy if job.policy in loaded or self._policies.fits([job.record.spec], loaded | tasks)
        ]
        return next(iter(fitting or ([] if tasks else busy)), None)

    def _unwatched(self, job: Job) -> bool:
        """Stops a job that no page asks about."""
        if time.monotonic() - job.watched <= UNWATCHED_SECONDS:
            return False
        job.state, job.message = State.IDLE, "The run was stopped because no page was showing it."
        return True

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
        with self._changed:
            needed = {other.policy for other in self._jobs.values() if other.state.busy}
        needed |= self._policies.needed_by_others(self)
        return self._policies.get(
            job.record.spec, job.asked.action_stats, needed, lambda: self._set(job, State.LOADING)
        )

    def _set(self, job: Job, state: State, message: str = "") -> None:
        with self._changed:
            stopped = job.state is State.IDLE and state in (State.LOADING, State.RUNNING)
            if not stopped:
                job.state, job.message = state, message


_queues: dict[int, RunQueue] = {}
_making = threading.Lock()


def queue_of(library: Library) -> RunQueue:
    """The one queue of a library in this process."""
    with _making:
        return _queues.setdefault(id(library), RunQueue(library, policies_of(library)))
