"""Several questions at once, in threads that do not outlive the program."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


def answered(questions: Iterator[Q], answer: Callable[[Q], A], parallel: int) -> Iterator[list[tuple[Q, Future[A]]]]:
    """Questions with what came of them, those that are done together; at most ``parallel`` are under way."""
    running: dict[Future[A], Q] = {}
    for question in questions:
        while len(running) >= parallel:
            yield _finished(running)
        running[_started(answer, question)] = question
    while running:
        yield _finished(running)


def _started(answer: Callable[[Q], A], question: Q) -> Future[A]:
    """In a daemon thread: those of an executor keep an interrupted program alive while an endpoint is silent."""
    future: Future[A] = Future()

    def work() -> None:
        try:
            future.set_result(answer(question))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def _finished(running: dict[Future[A], Q]) -> list[tuple[Q, Future[A]]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    return [(running.pop(future), future) for future in done]
