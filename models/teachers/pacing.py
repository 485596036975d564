"""Not faster than an endpoint allows, and slower when it says so."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 300.0  # seconds: no single wait is longer, whatever an endpoint asks for


class Pace:
    """At most so many requests and tokens in any minute, counted over all threads. 0 means no limit."""

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._requests, self._tokens, self._now, self._sleep = requests_per_minute, tokens_per_minute, now, sleep
        self._lock = threading.Lock()
        self._sent: deque[list[float]] = deque()  # [when, tokens] of the last minute

    def wait(self, tokens: float) -> list[float]:
        """Returns when one request of about ``tokens`` may go; tell `settle` what it really took."""
        while True:
            with self._lock:
                now = self._now()
                while self._sent and self._sent[0][0] <= now - 60:
                    self._sent.popleft()
                if self._free(tokens):
                    entry = [now, tokens]
                    self._sent.append(entry)
                    return entry
                pause = self._pause(now)
            self._sleep(pause)

    def settle(self, entry: list[float], tokens: float) -> None:
        """What a request really took, in place of the estimate."""
        with self._lock:
            entry[1] = tokens

    def _free(self, tokens: float) -> bool:
        if not self._sent:
            return True  # a request that is larger than the limit goes alone
        few = not self._requests or len(self._sent) < max(1.0, self._requests)
        small = not self._tokens or sum(entry[1] for entry in self._sent) + tokens <= self._tokens
        return few and small

    def _pause(self, now: float) -> float:
        """Until the oldest request is a minute old; evenly spread where a rate is below one a minute."""
        return min(max(self._sent[0][0] + 60 - now, 0.01), 60.0)


def back_off(attempt: int, headers: Mapping[str, str] | None, now: Callable[[], float] = time.time) -> float:
    """Seconds to wait before attempt ``attempt`` + 1 (0 the first): Retry-After, else doubling with some chance.

    Retry-After is seconds or a date (RFC 9110, 10.2.3).
    """
    asked = (headers or {}).get("retry-after")
    if asked is not None:
        try:
            return min(max(float(asked), 0.0), LONGEST_WAIT)
        except ValueError:
            try:
                return min(max(parsedate_to_datetime(asked).timestamp() - now(), 0.0), LONGEST_WAIT)
            except (TypeError, ValueError):
                pass
    return min(2.0**attempt, 60.0) * random.uniform(0.5, 1.0)
