"""Not faster than an endpoint allows, and slower when it says so."""

from __future__ import annotations

import math
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
        self._held = -math.inf  # nobody asks before

    def wait(self, tokens: float) -> list[float]:
        """Returns when one request of about ``tokens`` may go; tell `settle` what it really took."""
        while True:
            with self._lock:
                now = self._now()
                while self._sent and self._sent[0][0] <= now - 60:
                    self._sent.popleft()
                if now >= self._held and self._free(tokens):
                    entry = [now, tokens]
                    self._sent.append(entry)
                    return entry
                pause = self._held - now if now < self._held else self._pause(now)
            self._sleep(pause)

    def settle(self, entry: list[float], tokens: float) -> None:
        """What a request really took, in place of the estimate."""
        with self._lock:
            entry[1] = tokens

    def hold(self, seconds: float) -> None:
        """Nobody asks for so long: a limit of the endpoint concerns every thread, whichever was told."""
        with self._lock:
            self._held = max(self._held, self._now() + seconds)

    def _free(self, tokens: float) -> bool:
        if not self._sent:
            return True  # a request that is larger than the limit goes alone
        few = not self._requests or len(self._sent) < max(1.0, self._requests)
        small = not self._tokens or sum(entry[1] for entry in self._sent) + tokens <= self._tokens
        return few and small

    def _pause(self, now: float) -> float:
        """Until the oldest request is a minute old; evenly spread where a rate is below one a minute."""
        return min(max(self._sent[0][0] + 60 - now, 0.01), 60.0)


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Seconds that an endpoint wants to be left alone: Retry-After, a number or a date (RFC 9110, 10.2.3)."""
    asked = headers.get("retry-after")
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(asked).timestamp() - now()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else None


def back_off(attempt: int) -> float:
    """Seconds to wait before attempt ``attempt`` + 1 (0 the first): doubling, with some chance."""
    return min(2.0**attempt, 60.0) * random.uniform(0.5, 1.0)
