"""A teacher behind any OpenAI-compatible vision endpoint: Gemini, GPT, vLLM, Ollama and others offer one."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

from PIL import Image

from models.errors import UserError
from models.teachers.answer import parse
from models.teachers.answer_cache import AnswerCache, KeptAnswer
from models.teachers.dialect import Dialect
from models.teachers.pacing import Pace, back_off
from models.teachers.prompt import PromptTemplate
from models.teachers.teacher import BadAnswer, Clip, ClipFrame, Spent, TeacherSettings, Unanswered
from models.types import Rationale

IMAGE_TOKENS = 800  # a guess for the pace alone, until the endpoint says what an image took
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # statuses after which another attempt makes sense
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class EndpointTeacher:
    """Asks one question a clip. The key comes out of the environment and goes nowhere but to the endpoint."""

    def __init__(self, settings: TeacherSettings) -> None:
        """Raises UserError for settings that cannot be used; speaks to nobody yet."""
        if not settings.model:
            raise UserError("say which model the endpoint should use, such as --model gemini-2.5-flash")
        if settings.attempts < 1 or settings.timeout <= 0 or settings.image_side < 16:
            raise UserError("attempts must be 1 or more, timeout above 0 seconds, image side 16 pixels or more")
        address = urlparse(settings.base_url)
        if settings.base_url and (address.scheme not in ("http", "https") or not address.hostname):
            raise UserError(f"the endpoint is {settings.base_url!r}; expected an address such as http://host:8000/v1")
        self._key = os.environ.get(settings.key_env, "")
        if not self._key and address.hostname not in LOOPBACK:
            raise UserError(f"the endpoint needs a key; put it into the environment variable {settings.key_env}")
        self._settings, self._template = settings, PromptTemplate.read(settings.prompt)
        self._language = str(settings.further.get("language", "en"))
        self._cache = AnswerCache(settings.cache)
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._lock = threading.Lock()
        self._spent = Spent(cost=0.0 if self._priced else None)
        self._dialect = Dialect(settings)
        self._client: Any = None
        self._sleep = time.sleep

    @property
    def author(self) -> str:
        return self._settings.model

    @property
    def origin(self) -> Mapping[str, str]:
        return {"model": self._settings.model, "prompt": self._template.hash, "teacher": "endpoint"}

    @property
    def spent(self) -> Spent:
        with self._lock:
            return self._spent

    @property
    def _priced(self) -> bool:
        return self._settings.price_in is not None and self._settings.price_out is not None

    def explain(self, clip: Clip) -> Rationale:
        text = self._template.fill(clip, self._language)
        pictures = [_data_url(frame, self._settings.image_side) for frame in clip.frames]
        key = AnswerCache.key(
            {"model": self._settings.model, "prompt": self._template.hash, "text": text, "pictures": pictures,
             "temperature": self._settings.temperature, "max_tokens": self._settings.max_tokens}
        )  # fmt: skip
        kept = None if self._settings.fresh else self._cache.get(key)
        if kept is not None:
            self._add(cached=1)
        else:
            kept = self._ask(text, pictures)
            self._cache.put(key, kept)
        return Rationale(parse(kept.text), clip.start, clip.stop, self.author)

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

    def _ask(self, text: str, pictures: list[str]) -> KeptAnswer:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        content += [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        entry = self._pace.wait(len(text) / 4 + IMAGE_TOKENS * len(pictures) + self._settings.max_tokens / 2)
        answer = self._attempted([{"role": "user", "content": content}])
        usage = answer.usage
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage is not None else (0, 0)
        self._pace.settle(entry, sum(tokens))
        self._add(requests=1, tokens=tokens)
        choice = answer.choices[0] if answer.choices else None
        said = choice.message.content if choice is not None else None
        if choice is None or choice.message.refusal or choice.finish_reason == "content_filter" or not said:
            why = (choice.message.refusal if choice is not None else None) or "no text came back"
            raise BadAnswer(f"the model refused to answer: {self._hushed(why)}", said or "")
        if choice.finish_reason == "length":
            raise BadAnswer(f"the answer was cut off after {self._settings.max_tokens} tokens", said)
        return KeptAnswer(said, *tokens, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def _attempted(self, messages: list[dict[str, Any]]) -> Any:
        """The endpoint's answer, after as many attempts as are allowed."""
        import openai

        attempt = 0
        while attempt < self._settings.attempts:
            sent = self._dialect.parameters()
            try:
                answer = self._connected().chat.completions.create(
                    model=self._settings.model, messages=messages, **sent
                )
                if not isinstance(getattr(answer, "choices", None), list):
                    raise ValueError(f"it begins with {str(answer)[:80]!r}")
                return answer
            except openai.APIStatusError as error:
                if error.status_code in (400, 422) and self._dialect.learned(str(error.body or error), sent):
                    continue  # no attempt: it is another question now
                if error.status_code not in AGAIN:
                    raise UserError(self._refusal(error)) from None
                problem, headers = self._refusal(error), error.response.headers
            except openai.APIConnectionError as error:  # timeouts are of this kind
                problem, headers = self._unreachable(error), None
            except (openai.APIResponseValidationError, ValueError) as error:
                problem, headers = f"the endpoint sent what is no answer ({self._hushed(str(error))[:200]})", None
            attempt += 1
            if attempt < self._settings.attempts:
                self._add(retries=1)
                self._sleep(back_off(attempt - 1, headers))
        raise Unanswered(f"{problem}, also after {self._settings.attempts} attempts")

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

    def _add(self, requests: int = 0, cached: int = 0, tokens: tuple[int, int] = (0, 0), retries: int = 0) -> None:
        with self._lock:
            old, cost = self._spent, None
            if old.cost is not None:
                price_in, price_out = self._settings.price_in or 0.0, self._settings.price_out or 0.0
                cost = old.cost + (tokens[0] * price_in + tokens[1] * price_out) / 1e6
            self._spent = replace(
                old, requests=old.requests + requests, cached=old.cached + cached, retries=old.retries + retries,
                tokens_in=old.tokens_in + tokens[0], tokens_out=old.tokens_out + tokens[1], cost=cost,
            )  # fmt: skip

    def _refusal(self, error: Any) -> str:
        said = error.body.get("message", "") if isinstance(error.body, dict) else str(error.body or "")
        return f"the endpoint refuses with status {error.status_code}: {self._hushed(str(said))[:300] or 'no reason'}"

    def _unreachable(self, error: Exception) -> str:
        where = self._settings.base_url or "the endpoint of OpenAI"
        reason = error.__cause__ if error.__cause__ is not None else error
        return f"{where} does not answer ({self._hushed(str(reason))[:200] or type(reason).__name__})"

    def _hushed(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _data_url(frame: ClipFrame, side: int) -> str:
    """The frame as a JPEG of at most ``side`` pixels a side, as an address that holds it."""
    picture = Image.fromarray(frame.image)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
