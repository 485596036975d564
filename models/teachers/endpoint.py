"""A teacher behind any OpenAI-compatible vision endpoint: Gemini, GPT, vLLM, Ollama and others offer one."""

from __future__ import annotations

import base64
import io
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

from PIL import Image

from models.errors import UserError
from models.teachers.answer import parse
from models.teachers.answer_cache import AnswerCache, KeptAnswer
from models.teachers.conversation import Conversation
from models.teachers.prompt import PromptTemplate
from models.teachers.teacher import BadAnswer, Clip, ClipFrame, DatedRationale, Spent, TeacherSettings

IMAGE_TOKENS = 800  # a guess for the pace alone, until the endpoint says what an image took
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class EndpointTeacher:
    """Asks one question a clip. The key comes out of the environment and goes nowhere but to the endpoint."""

    def __init__(
        self,
        settings: TeacherSettings,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """Raises UserError for settings that cannot be used; speaks to nobody yet."""
        _check(settings)
        address = urlparse(settings.base_url)
        if settings.base_url and (address.scheme not in ("http", "https") or not address.hostname):
            raise UserError(f"the endpoint is {settings.base_url!r}; expected an address such as http://host:8000/v1")
        key = os.environ.get(settings.key_env, "")
        if not key and address.hostname not in LOOPBACK:
            raise UserError(f"the endpoint needs a key; put it into the environment variable {settings.key_env}")
        self._settings, self._template = settings, PromptTemplate.read(settings.prompt)
        self._language = str(settings.further.get("language", "en"))
        self._cache = AnswerCache(settings.cache)
        self._conversation = Conversation(settings, key, now, sleep)
        self._lock = threading.Lock()
        self._spent = Spent(cost=None if settings.price_in is None else 0.0)

    @property
    def author(self) -> str:
        return self._settings.model

    @property
    def origin(self) -> Mapping[str, str]:
        return {
            "model": self._settings.model,
            "prompt": self._template.hash,
            "teacher": "endpoint",
            "image side": str(self._settings.image_side),
        }

    @property
    def spent(self) -> Spent:
        with self._lock:
            return self._spent

    def explain(self, clip: Clip) -> DatedRationale:
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
        return DatedRationale(parse(kept.text), clip.start, clip.stop, self.author, kept.time)

    def check(self) -> None:
        """Knock at the door. Raises UserError for an endpoint that is not there or refuses the key."""
        self._conversation.check()

    def stop(self) -> None:
        """Whoever waits for another attempt gives up; this teacher is not asked again."""
        self._conversation.stop()

    def _ask(self, text: str, pictures: list[str]) -> KeptAnswer:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        content += [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
        guess = len(text) / 4 + IMAGE_TOKENS * len(pictures) + self._settings.max_tokens / 2
        answer = self._conversation.ask(content, guess, lambda: self._add(retries=1))
        usage = answer.usage
        told = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        tokens = (told[0] or 0, told[1] or 0)
        self._add(requests=1, tokens=tokens, untold=int(None in told))
        choice = answer.choices[0] if answer.choices else None
        said = choice.message.content if choice is not None else None
        if choice is not None and choice.finish_reason == "length":
            limit = f"{self._settings.max_tokens} tokens; raise --max-tokens"
            raise BadAnswer(f"the answer was cut off after {limit}", said or "")
        if choice is None or choice.message.refusal or choice.finish_reason == "content_filter" or not said:
            why = (choice.message.refusal if choice is not None else None) or "no text came back"
            raise BadAnswer(f"the model refused to answer: {self._conversation.hushed(why)}", said or "")
        return KeptAnswer(said, *tokens, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def _add(
        self,
        requests: int = 0,
        cached: int = 0,
        tokens: tuple[int, int] = (0, 0),
        retries: int = 0,
        untold: int = 0,
    ) -> None:
        with self._lock:
            old, cost = self._spent, None
            if old.cost is not None:
                price_in, price_out = self._settings.price_in or 0.0, self._settings.price_out or 0.0
                cost = old.cost + (tokens[0] * price_in + tokens[1] * price_out) / 1e6
            self._spent = replace(
                old, requests=old.requests + requests, cached=old.cached + cached, retries=old.retries + retries,
                tokens_in=old.tokens_in + tokens[0], tokens_out=old.tokens_out + tokens[1], cost=cost,
                untold=old.untold + untold,
            )  # fmt: skip


def _check(settings: TeacherSettings) -> None:
    """Raises UserError for numbers that mean nothing; NaN is none, whatever it is compared with."""
    if not settings.model:
        raise UserError("say which model the endpoint should use, such as --model gemini-2.5-flash")
    if settings.attempts < 1 or settings.max_tokens < 1 or settings.image_side < 16:
        raise UserError("attempts and tokens of an answer must be 1 or more, the image side 16 pixels or more")
    if not 0 < settings.timeout < math.inf:
        raise UserError(f"the timeout is {settings.timeout:g} seconds; expected a number above 0")
    for name in ("requests_per_minute", "tokens_per_minute", "price_in", "price_out"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"{name.replace('_', ' ')} is {value:g}; expected 0 or more")
    if (settings.price_in is None) != (settings.price_out is None):
        raise UserError("one price alone tells no cost; give both, of a million tokens read and written")


def _data_url(frame: ClipFrame, side: int) -> str:
    """The frame as a JPEG of at most ``side`` pixels a side, as an address that holds it."""
    picture = Image.fromarray(frame.image)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
