"""Who may run a policy now: one at a time, in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that serves those who wait in their order, so that long work and short work advance together."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()  # whose turn it is, then those who wait

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, nobody else has the turn. Not to be nested in one thread."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def pass_on(self) -> None:
        """Lets everyone who waits now have a turn first. Only for who has the turn."""
        with self._changed:
            alone = len(self._line) < 2
        if not alone:
            self._leave()
            self._enter()

    def _enter(self) -> None:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            while self._line[0] is not ticket:
                self._changed.wait()

    def _leave(self) -> None:
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()
