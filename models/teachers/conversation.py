"""Speaking with an OpenAI-compatible endpoint: until it answers, refuses, or was asked often enough."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from models.errors import UserError
from models.teachers.dialect import Dialect
from models.teachers.pacing import Pace, back_off, retry_after
from models.teachers.teacher import Refused, TeacherSettings, Unanswered

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # statuses after which another attempt makes sense
THIS_ONE = (400, 413, 422)  # statuses that may be about this question alone, such as a content filter's


class Conversation:
    """Several threads may ask at once. The key goes nowhere but to the endpoint."""

    def __init__(
        self,
        settings: TeacherSettings,
        key: str,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._settings, self._key, self._sleep = settings, key, sleep or self._wait
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute, now, self._sleep)
        self._dialect, self._stopped = Dialect(settings), threading.Event()
        self._lock = threading.Lock()
        self._client: Any = None

    def check(self) -> None:
        """Knock at the door. Raises UserError for an endpoint that is not there or refuses the key."""
        import openai

        try:
            self._connected().models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(self._refusal(error)) from None
        except openai.APIConnectionError as error:
            raise UserError(self._unreachable(error)) from None
        except openai.APIError:
            pass  # many endpoints have no list of models; the first question will tell

    def ask(self, content: list[dict[str, Any]], tokens: float, retried: Callable[[], None]) -> Any:
        """The endpoint's answer, after as many attempts as are allowed. ``tokens``: what it may take, for the pace.

        Raises Refused for this question alone, Unanswered where none came, UserError where others would fail too.
        """
        import openai

        messages, attempt = [{"role": "user", "content": content}], 0
        while True:
            sent, entry = self._dialect.parameters(), self._pace.wait(tokens)
            wait: float | None = None
            try:
                answer = self._connected().chat.completions.create(
                    model=self._settings.model, messages=messages, **sent
                )
                if not isinstance(getattr(answer, "choices", None), list):
                    raise ValueError(f"it begins with {str(answer)[:80]!r}")
                if answer.usage is not None:
                    self._pace.settle(entry, (answer.usage.prompt_tokens or 0) + (answer.usage.completion_tokens or 0))
                return answer
            except openai.APIStatusError as error:
                self._pace.settle(entry, 0)
                if error.status_code in THIS_ONE and self._dialect.learned(str(error.body or error), sent):
                    continue  # no attempt: it is another question now
                problem = self._refusal(error)
                if error.status_code in THIS_ONE:
                    raise Refused(problem) from None
                if error.status_code not in AGAIN:
                    raise UserError(problem) from None
                wait = retry_after(error.response.headers)
            except openai.APIConnectionError as error:  # timeouts are of this kind
                problem = self._unreachable(error)
            except (openai.APIResponseValidationError, ValueError) as error:
                problem = f"the endpoint sent what is no answer ({self.hushed(str(error))[:200]})"
            if wait is not None:
                self._pace.hold(wait)
            attempt += 1
            if attempt >= self._settings.attempts:
                raise Unanswered(f"{problem}, also after {self._settings.attempts} attempts")
            retried()
            if wait is None:
                self._sleep(back_off(attempt - 1))

    def stop(self) -> None:
        """Nobody waits for another attempt any more."""
        self._stopped.set()

    def hushed(self, text: str) -> str:
        """``text`` without the key."""
        return text.replace(self._key, "***") if self._key else text

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Unanswered("the run was stopped")

    def _connected(self) -> Any:
        import openai

        with self._lock:
            if self._client is None:
                self._client = openai.OpenAI(
                    api_key=self._key or "none",
                    base_url=self._settings.base_url or None,
                    timeout=self._settings.timeout,
                    max_retries=0,  # `back_off` decides
                )
            return self._client

    def _refusal(self, error: Any) -> str:
        said = error.body.get("message", "") if isinstance(error.body, dict) else str(error.body or "")
        return f"the endpoint refuses with status {error.status_code}: {self.hushed(str(said))[:300] or 'no reason'}"

    def _unreachable(self, error: Exception) -> str:
        where = self._settings.base_url or "the endpoint of OpenAI"
        reason = error.__cause__ if error.__cause__ is not None else error
        return f"{where} does not answer ({self.hushed(str(reason))[:200] or type(reason).__name__})"
