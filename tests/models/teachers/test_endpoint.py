"""A real server on loopback: good, slow, broken, rate-limited and refusing answers."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import UserError
from models.teachers.answer_cache import AnswerCache, KeptAnswer
from models.teachers.endpoint import EndpointTeacher
from models.teachers.pacing import Pace
from models.teachers.teacher import BadAnswer, Clip, ClipFrame, TeacherSettings, Unanswered
from tests.teacher_endpoint import GOOD, Endpoint, Reply, endpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with endpoint() as state:
        yield state


def teacher(server: Endpoint, **settings: object) -> EndpointTeacher:
    given = {"model": "m", "base_url": server.url, "timeout": 5.0, "attempts": 3, **settings}
    return EndpointTeacher(
        TeacherSettings(**given),  # type: ignore[arg-type]
        now=lambda: sum(slept),
        sleep=slept.append,
    )


slept: list[float] = []


@pytest.fixture(autouse=True)
def _awake() -> None:
    slept.clear()


def clip(width: int = 40) -> Clip:
    frame = ClipFrame("front", 3, np.full((30, width, 3), 90, np.uint8))
    return Clip("e", "move the cup", 3, 6, (frame,), np.zeros((3, 7)), objects={"cup": None})


@pytest.mark.slow
def test_the_question_holds_prompt_and_frames_and_the_answer_becomes_a_rationale(server: Endpoint) -> None:
    said = teacher(server, image_side=64).explain(clip(width=400))
    assert (dict(said.parts), said.start, said.stop, said.author) == (GOOD, 3, 6, "m")
    text, picture = server.asked[0]["messages"][0]["content"]
    assert "move the cup" in text["text"]
    assert "steps 3 to 5" in text["text"]
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 5)
    assert server.asked[0]["response_format"]["json_schema"]["schema"]["required"] == list(GOOD)


@pytest.mark.slow
def test_asking_again_costs_nothing(server: Endpoint, tmp_path: Path) -> None:
    first = teacher(server, cache=str(tmp_path), price_in=2.0, price_out=10.0)
    said = first.explain(clip())
    assert (first.spent.requests, first.spent.tokens_in, first.spent.tokens_out) == (1, 1000, 50)
    assert first.spent.cost == pytest.approx(1000 * 2e-6 + 50 * 10e-6)
    again = teacher(server, cache=str(tmp_path), price_in=2.0, price_out=10.0)
    assert again.explain(clip()) == said  # when it was given, too
    assert said.time
    assert (len(server.asked), again.spent.cached, again.spent.cost) == (1, 1, 0)
    teacher(server, cache=str(tmp_path), prompt="Explain {instruction} briefly").explain(clip())
    teacher(server, cache=str(tmp_path), model="n").explain(clip())
    teacher(server, cache=str(tmp_path)).explain(clip(width=41))
    teacher(server, cache=str(tmp_path), fresh=True).explain(clip())
    assert len(server.asked) == 5


def test_a_busy_endpoint_is_waited_for_as_long_as_it_says(server: Endpoint) -> None:
    server.replies = [Reply(status=429, headers={"Retry-After": "7"}, error="slow down"), Reply(status=503), Reply()]
    asked = teacher(server)
    asked.explain(clip())
    assert slept[0] == 7
    assert 1 <= slept[1] <= 2
    assert asked.spent.retries == 2


def test_slow_and_broken_answers_are_asked_again(server: Endpoint) -> None:
    page = Reply(raw=b"<html>", headers={"Content-Type": "text/html"})
    server.replies = [Reply(slow=0.6), Reply(raw=b"{not json"), page, Reply(close=True)]
    assert dict(teacher(server, timeout=0.3, attempts=5).explain(clip()).parts) == GOOD
    assert len(server.asked) == 5


def test_an_endpoint_that_never_answers(server: Endpoint) -> None:
    server.replies = [Reply(status=500, error="boom")] * 3
    with pytest.raises(Unanswered, match="status 500: boom, also after 3 attempts"):
        teacher(server).explain(clip())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(content="The cup is on the left."), "holds no JSON object"),
        (Reply(content=json.dumps({**GOOD, "spatial": "  "})), "part spatial is empty"),
        (Reply(content=json.dumps({**GOOD, "spatial": "..."})), "part spatial is empty"),
        (Reply(content=json.dumps({"observation": "a"})), "does not fit the schema: situation"),
        (Reply(content=json.dumps({**GOOD, "more": "x"})), "does not fit the schema: more"),
        (Reply(content=None, refusal="I cannot help"), "refused to answer: I cannot help"),
        (Reply(content=None), "refused to answer: no text"),
        (Reply(content='{"observation": "The', finish="length"), "cut off after 1024 tokens; raise --max-tokens"),
        (Reply(content=None, finish="length"), "cut off after 1024 tokens"),
        (Reply(status=400, error="your prompt was flagged"), "refuses with status 400: your prompt was flagged"),
        (Reply(status=413, error="too large"), "refuses with status 413"),
    ],
)
def test_answers_that_are_none_say_why(server: Endpoint, reply: Reply, reason: str) -> None:
    server.replies = [reply]
    with pytest.raises(BadAnswer, match=reason):
        teacher(server).explain(clip())


def test_a_fenced_answer_is_read(server: Endpoint) -> None:
    server.replies = [Reply(content=f"Here you are:\n```json\n{json.dumps(GOOD)}\n```")]
    assert dict(teacher(server).explain(clip()).parts) == GOOD


def test_an_endpoint_without_schemas_is_asked_without(server: Endpoint) -> None:
    server.replies = [Reply(status=400, error="response_format json_schema is not supported"), Reply(), Reply()]
    asked = teacher(server)
    asked.explain(clip())
    asked.explain(clip(width=41))
    assert ["response_format" in body for body in server.asked] == [True, False, False]
    assert not slept


def test_a_reasoning_model_is_asked_with_the_parameters_that_it_takes(server: Endpoint) -> None:
    """As GPT-5 refuses: first the name of the limit, then the temperature."""

    def picky(asked: dict) -> Reply:
        if "max_tokens" in asked:
            return Reply(
                status=400,
                error="Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
            )
        if asked.get("temperature", 1) != 1:
            return Reply(status=400, error="Unsupported value: 'temperature' does not support 0 with this model.")
        return Reply()

    server.otherwise = picky
    asked = teacher(server, attempts=1, max_tokens=77)
    assert dict(asked.explain(clip()).parts) == GOOD
    assert server.asked[-1]["max_completion_tokens"] == 77
    assert not {"max_tokens", "temperature"} & set(server.asked[-1])
    assert "response_format" in server.asked[-1]
    asked.explain(clip(width=41))
    assert (len(server.asked), asked.spent.requests, asked.spent.retries) == (4, 2, 0)  # remembered, and no attempt


def test_a_refused_key_ends_the_run_and_is_never_shown(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    server.models = Reply(status=401, error="Incorrect API key provided: sk-very-secret")
    server.replies = [Reply(status=401, error="Incorrect API key provided: sk-very-secret")]
    asked = teacher(server, key_env="MY_KEY")
    for attempt in (asked.check, lambda: asked.explain(clip())):
        with pytest.raises(UserError, match=r"refuses with status 401: Incorrect API key provided: \*\*\*$"):
            attempt()
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert not slept


def test_nobody_there() -> None:
    asked = EndpointTeacher(TeacherSettings(model="m", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/v1 does not answer"):
        asked.check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "", "base_url": "http://127.0.0.1:1/v1"}, "which model"),
        ({"model": "m"}, "needs a key; put it into the environment variable OPENAI_API_KEY"),
        ({"model": "m", "base_url": "ftp://x"}, "expected an address"),
        (
            {"model": "m", "base_url": "http://127.0.0.1:1", "attempts": 0},
            "attempts and tokens of an answer",
        ),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "max_tokens": 0}, "must be 1 or more"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "timeout": math.nan}, "the timeout is nan seconds"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "tokens_per_minute": math.nan}, "tokens per minute is nan"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "requests_per_minute": -1.0}, "requests per minute is -1"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "price_in": -1.0, "price_out": 1.0}, "price in is -1"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "price_in": 1.0}, "one price alone tells no cost"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "prompt": "Why?"}, "does not say {instruction}"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "prompt": "{instruction} {x}"}, "has the placeholder {x}"),
        ({"model": "m", "base_url": "http://127.0.0.1:1", "prompt": "{instruction} {"}, "cannot be read"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=said):
        EndpointTeacher(TeacherSettings(**settings))


def test_every_attempt_keeps_to_the_rate(server: Endpoint) -> None:
    server.replies = [Reply(status=500)] * 3
    teacher(server, attempts=4, requests_per_minute=2).explain(clip())
    assert sum(slept) >= 60  # the third attempt within the minute had to wait


def test_what_one_thread_is_told_holds_all_back() -> None:
    clock = [0.0]
    pace = Pace(0, 0, now=lambda: clock[0], sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    pace.hold(7)
    pace.hold(3)
    pace.wait(1)
    assert clock[0] == 7


def test_whoever_waits_gives_up_when_the_run_stops(server: Endpoint) -> None:
    server.otherwise = lambda asked: Reply(status=429, headers={"Retry-After": "40"})
    asked = EndpointTeacher(TeacherSettings(model="m", base_url=server.url))
    threading.Timer(0.3, asked.stop).start()
    begun = time.monotonic()
    with pytest.raises(Unanswered, match="stopped"):
        asked.explain(clip())
    assert time.monotonic() - begun < 10


def test_an_answer_without_usage_is_counted_apart(server: Endpoint) -> None:
    server.replies = [Reply(usage=None), Reply(usage={"prompt_tokens": 5}), Reply()]
    asked = teacher(server, price_in=1.0, price_out=2.0)
    for width in (40, 41, 42):
        asked.explain(clip(width))
    assert (asked.spent.requests, asked.spent.untold, asked.spent.tokens_in) == (3, 2, 1005)


def test_the_pace_counts_requests_and_tokens() -> None:
    clock = [0.0]
    pace = Pace(2, 0, now=lambda: clock[0], sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    when = []
    for _ in range(5):
        pace.wait(10)
        when.append(clock[0])
    assert when == [0, 0, 60, 60, 120]
    clock[0] = 0.0
    pace = Pace(0, 100, now=lambda: clock[0], sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    pace.settle(pace.wait(40), 90)  # it took more than was thought
    pace.wait(40)
    assert clock[0] == 60


def test_retry_after_may_be_a_date() -> None:
    from models.teachers.pacing import LONGEST_WAIT, retry_after

    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, now=lambda: 1445412480.0) == 10
    assert retry_after({"retry-after": "1e9"}) == LONGEST_WAIT
    for said in ("soon", "nan", "inf", "-inf", ""):
        assert retry_after({"retry-after": said}) is None
    assert retry_after({}) is None


def test_an_answer_with_half_a_sign_is_kept(tmp_path: Path) -> None:
    cache, answer = AnswerCache(str(tmp_path)), KeptAnswer("cut off \ud83d", 1, 1, "2026-03-01T12:00:00Z")
    cache.put("key", answer)
    assert cache.get("key") == answer
