"""Background work on policies that is no run: attribution maps, what-if, verdicts, exports.

``tasks_of(library).submit(key, work, policies)`` starts ``work(policies, progress, cancelled)`` in a thread of its own,
once for each ``key``, and returns at once. Work calls ``progress(done, total)`` often: it reports, raises `Cancelled`
where the task was cancelled, and lets runs and other tasks have their turn. A policy runs in one of them at a time.
``cancelled()`` says the same without raising. What work returns is kept for the latest tasks, so it should be small:
what is large belongs on disk, its address in the result. Work without policies (an export) takes no turns.
A page shows a task with `app.components.task_status.task_status`, the player through the routes of `app.task_routes`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from app.library import Library
from app.policy_cache import PolicyKey
from app.shared_policies import PolicyChoice, SharedPolicies, policies_of
from models.errors import UserError
from models.policy import Policy
from models.types import CheckpointSpec

AT_ONCE = 4  # tasks that take turns; more wait
KEPT = 64  # ended tasks whose results are remembered
LOOK_AGAIN_SECONDS = 0.2  # for memory that others hold

Progress = Callable[[int, int], None]
Work = Callable[[tuple[Policy, ...], Progress, Callable[[], bool]], Any]

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Raised inside work, by its call of ``progress``, where its task was cancelled."""


class TaskState(StrEnum):
    QUEUED = "queued"
    LOADING = "loading"  # a checkpoint
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def busy(self) -> bool:
        return self in (TaskState.QUEUED, TaskState.LOADING, TaskState.RUNNING)


@dataclass(frozen=True)
class Task:
    """How a task stands at one moment."""

    id: str  # of its key, good for a URL
    title: str
    state: TaskState = TaskState.QUEUED
    message: str = ""  # why it failed, in a sentence
    done: int = 0
    total: int = 0  # 0: not known yet
    result: Any = None  # what work returned


@dataclass(eq=False)
class _Entry:
    task: Task
    work: Work
    policies: tuple[PolicyChoice, ...]
    unwatched_seconds: float | None
    watched: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)


def task_id(key: Hashable) -> str:
    """The id of the task of a key; equal keys must have equal representations, as tuples and dataclasses have."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


class Tasks:
    """Starts, cancels and reports tasks; all methods may be called from any thread and return at once."""

    def __init__(self, library: Library, policies: SharedPolicies | None = None) -> None:
        self._library = library
        self._policies = policies or SharedPolicies(library)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._places = threading.Semaphore(AT_ONCE)

    def submit(
        self,
        key: Hashable,
        work: Work,
        policies: Sequence[PolicyChoice] = (),
        title: str = "",
        unwatched_seconds: float | None = None,
    ) -> Task:
        """The task of ``key``: the one under way or done, else a new one.

        ``policies`` are opened before work begins and stay in memory until it ends. ``unwatched_seconds``: cancel it
        when nobody has asked for so long; None: it goes on without being watched.
        """
        id = task_id(key)
        with self._lock:
            known = self._entries.get(id)
            if known is not None and (known.task.state.busy or known.task.state is TaskState.DONE):
                known.watched = time.monotonic()
                return known.task
            entry = _Entry(Task(id, title), work, tuple(policies), unwatched_seconds)
            self._entries[id] = entry
            self._entries.move_to_end(id)
            self._forget_old()
        threading.Thread(target=self._run, args=(entry,), name=f"task {title or id}", daemon=True).start()
        return entry.task

    def get(self, key: Hashable) -> Task | None:
        """How the task of ``key`` stands; None where there is none or its result is no longer kept."""
        return self.find(task_id(key))

    def find(self, id: str) -> Task | None:
        """The same by id; counts as watching it."""
        with self._lock:
            entry = self._entries.get(id)
            if entry is None:
                return None
            entry.watched = time.monotonic()
            return entry.task

    def cancel(self, id: str) -> None:
        """The slice under way is finished, no further one is begun. Does nothing to a task that has ended."""
        with self._lock:
            entry = self._entries.get(id)
            if entry is not None and entry.task.state.busy:
                entry.cancelled.set()
                entry.task = replace(entry.task, state=TaskState.CANCELLED, message="cancelled")

    def forget(self, key: Hashable) -> None:
        """The next `submit` of this key works anew; cancels it where it is under way."""
        self.cancel(task_id(key))
        with self._lock:
            self._entries.pop(task_id(key), None)

    def _forget_old(self) -> None:
        ended = [id for id, entry in self._entries.items() if not entry.task.state.busy]
        for id in ended[: max(0, len(ended) - KEPT)]:
            del self._entries[id]

    def _run(self, entry: _Entry) -> None:
        try:
            with self._places if entry.policies else nullcontext():
                if not entry.cancelled.is_set():
                    result = self._worked(entry)
                    self._set(entry, state=TaskState.DONE, result=result)
        except Cancelled:
            self._set(entry, state=TaskState.CANCELLED, message="cancelled")
        except UserError as error:
            self._set(entry, state=TaskState.FAILED, message=str(error))
        except Exception:
            # A bug in one task must not take the server with it; the log keeps its traceback.
            log.exception("the task %r failed", entry.task.title)
            said = "This failed with an internal error; the server's log has the details."
            self._set(entry, state=TaskState.FAILED, message=said)
        finally:
            self._policies.need(entry, ())

    def _worked(self, entry: _Entry) -> Any:
        if not entry.policies:
            self._set(entry, state=TaskState.RUNNING)
            return entry.work((), lambda done, total: self._report(entry, done, total), entry.cancelled.is_set)
        while not self._has_room(entry, specs := self._specs(entry)):
            if entry.cancelled.wait(LOOK_AGAIN_SECONDS):
                raise Cancelled
        with self._policies.turns.turn():
            opened = tuple(
                self._policies.get(
                    spec,
                    choice.action_stats,
                    self._keys(entry, specs) | self._policies.needed_by_others(entry),
                    lambda: self._set(entry, state=TaskState.LOADING),
                )
                for spec, choice in zip(specs, entry.policies, strict=True)
            )
            self._set(entry, state=TaskState.RUNNING)

            def progress(done: int, total: int) -> None:
                self._report(entry, done, total)
                self._policies.turns.pass_on()
                if entry.cancelled.is_set():
                    raise Cancelled

            return entry.work(opened, progress, entry.cancelled.is_set)

    def _specs(self, entry: _Entry) -> list[CheckpointSpec]:
        workspace = self._library.workspace
        return [workspace.checkpoint(choice.checkpoint, choice.family) for choice in entry.policies]

    def _keys(self, entry: _Entry, specs: Sequence[CheckpointSpec]) -> set[PolicyKey]:
        return {
            PolicyKey(spec.digest, spec.family, choice.action_stats)
            for spec, choice in zip(specs, entry.policies, strict=True)
        }

    def _has_room(self, entry: _Entry, specs: Sequence[CheckpointSpec]) -> bool:
        """Whether the policies fit beside those that others need; if so they are this task's from now on."""
        keys = self._keys(entry, specs)
        with self._policies.turns.turn():
            others = self._policies.needed_by_others(entry)
            new = {spec.digest: spec for spec in specs if spec.digest not in {key.digest for key in others & keys}}
            room = not others or self._policies.fits(list(new.values()), others)
            if room:
                self._policies.need(entry, keys)
            return room

    def _report(self, entry: _Entry, done: int, total: int) -> None:
        limit = entry.unwatched_seconds
        if limit is not None and time.monotonic() - entry.watched > limit:
            entry.cancelled.set()
        if entry.cancelled.is_set():
            raise Cancelled
        self._set(entry, done=done, total=total)

    def _set(self, entry: _Entry, **changes: Any) -> None:
        with self._lock:
            if entry.task.state is not TaskState.CANCELLED:
                entry.task = replace(entry.task, **changes)


_tasks: dict[int, Tasks] = {}
_making = threading.Lock()


def tasks_of(library: Library) -> Tasks:
    """The tasks of a library in this process."""
    with _making:
        return _tasks.setdefault(id(library), Tasks(library, policies_of(library)))
