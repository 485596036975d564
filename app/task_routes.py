"""Tasks for the player's JavaScript: start, ask, cancel. What can be started is named here, one line a kind.

POST /lens/task/start with ``{"kind": ..., ...}`` answers with the task's id; GET /lens/task?id= says how it stands and,
once it is done, its ``result``; POST /lens/task/cancel?id= cancels it. A kind is "module:function": the function gets
the library and the rest of the body, which it checks, and returns an `Order`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from app.library import Library
from app.shared_policies import PolicyChoice
from app.tasks import Task, TaskState, Work, tasks_of
from models.errors import UserError
from models.registry import function

KINDS: Mapping[str, str] = {
    "attribute": "app.attribution:attribute_order",
    "attribution-methods": "app.attribution:methods_order",
    "test-map": "app.tested_badges:map_test_order",
}
LARGEST_BODY = 1_000_000  # bytes
UNWATCHED_SECONDS = 30.0  # a task of a page that is gone is cancelled


@dataclass(frozen=True)
class Order:
    """A task to submit; its work returns what JSON can say."""

    key: Hashable
    work: Work
    policies: tuple[PolicyChoice, ...] = ()
    title: str = ""


Kind = Callable[[Library, Mapping[str, Any]], Order]


def start_task(library: Library, body: bytes) -> dict[str, Any]:
    """Starts what the body of a request asks for. Raises UserError for one that cannot be understood."""
    if len(body) > LARGEST_BODY:
        raise UserError(f"the request has {len(body)} bytes; expected at most {LARGEST_BODY}")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise UserError("the request is no JSON") from None
    kind = asked.get("kind") if isinstance(asked, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"there is no kind of task {str(kind)[:40]!r}; there are {', '.join(KINDS) or 'none'}")
    order = function(KINDS[kind])(library, {name: value for name, value in asked.items() if name != "kind"})
    task = tasks_of(library).submit(order.key, order.work, order.policies, order.title, UNWATCHED_SECONDS)
    return task_facts(task)


def find_task(library: Library, id: str) -> dict[str, Any]:
    """How a task stands. Raises UserError for one that is not known."""
    task = tasks_of(library).find(id)
    if task is None:
        raise UserError("there is no such task; its result may have been forgotten, start it again")
    return task_facts(task)


def cancel_task(library: Library, id: str) -> dict[str, Any]:
    """Cancels a task and says how it stands. Raises UserError for one that is not known."""
    tasks_of(library).cancel(id)
    return find_task(library, id)


def task_facts(task: Task) -> dict[str, Any]:
    """A task as JSON values."""
    facts: dict[str, Any] = {"id": task.id, "title": task.title, "state": task.state, "message": task.message}
    facts |= {"done": task.done, "total": task.total}
    return facts | ({"result": task.result} if task.state is TaskState.DONE else {})
