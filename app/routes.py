"""HTTP routes beside the pages, under /lens/: frames, facts, captured steps, run control.

Ids are parameters that are looked up in the workspace; no part of a request ever becomes a path.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import figures_export
from app.attribution import stored_maps
from app.bundle import Wanted, encode_bundle, encode_depth
from app.chart_exports import chart_file
from app.facts import episode_facts, ground_truth
from app.json_answer import JsonAnswer
from app.library import Library
from app.picture_route import download
from app.player_files import BASE, CHART_EXPORT, PLAYER
from app.run_records import Asked
from app.run_status import StepSummaries, run_status
from app.runs import queue_of
from app.selection import camera_names
from app.task_routes import LARGEST_BODY, cancel_task, find_task, start_task
from app.tested_badges import map_badge
from app.thumbnails import thumbnails_of
from models.errors import UserError

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
NEVER = {"Cache-Control": "no-store"}
SAFE = {"X-Content-Type-Options": "nosniff"}
# Half-precision weights barely shrink: packing 500 kB takes 20 ms, sending them over loopback under one.
UNPACKED = {"Content-Encoding": "identity"}

Answer = Callable[[Request], Response]


def lens_routes(library: Callable[[], Library]) -> list[Route]:
    """All routes. ``library`` is called when a request comes, so that a server starts even without a workspace."""
    summaries = StepSummaries()
    get: dict[str, Answer] = {
        "episode": lambda request: _episode(library(), request),
        "truth": lambda request: _truth(library(), request),
        "frame": lambda request: _frame(library(), request),
        "thumbnail": lambda request: _thumbnail(library(), request),
        "run": lambda request: _run(library(), summaries, request),
        "step": lambda request: _step(library(), request),
        "depth": lambda request: _depth(library(), request),
        "picture": lambda request: _picture(library(), request),
        "chart": lambda request: _attachment(*chart_file(library(), request.query_params)),
        "attribution": lambda request: JsonAnswer(stored_maps(library(), _asked_map(request)), headers=NEVER),
        "tested": lambda request: JsonAnswer(map_badge(library(), _asked_map(request)), headers=NEVER),
        "task": lambda request: JsonAnswer(find_task(library(), _text(request, "id")), headers=NEVER),
    }
    post: dict[str, Answer] = {
        "start": lambda request: _start(library(), request),
        "stop": lambda request: _stop(library(), request),
        "task/start": lambda request: JsonAnswer(start_task(library(), request.state.body), headers=NEVER),
        "task/cancel": lambda request: JsonAnswer(cancel_task(library(), _text(request, "id")), headers=NEVER),
    }
    return [
        Route(f"{BASE}/player/{{version}}/{{file}}", PLAYER.answer, methods=["GET"]),
        Route(f"{BASE}/chart-export/{{version}}/{{file}}", CHART_EXPORT.answer, methods=["GET"]),
        Route(f"{BASE}/plotly/{figures_export.VERSION}/plotly.min.js", _plotly, methods=["GET"]),
        *(Route(f"{BASE}/{name}", _answering(answer), methods=["GET"]) for name, answer in get.items()),
        *(
            Route(f"{BASE}/{name}", _answering(_own_pages_only(answer)), methods=["POST"])
            for name, answer in post.items()
        ),
    ]


def _answering(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Runs in a thread; a `UserError` becomes a sentence with status 404, never a page of traceback."""

    async def endpoint(request: Request) -> Response:
        try:
            request.state.body = await _body(request)
            response = await run_in_threadpool(answer, request)
        except UserError as error:
            response = JsonAnswer({"error": str(error)}, status_code=404, headers=NEVER)
        response.headers.update(SAFE)
        return response

    return endpoint


async def _body(request: Request) -> bytes:
    """What a request brings along, as far as anything here reads it."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            break
    return bytes(body)


def _own_pages_only(answer: Answer) -> Answer:
    """A page of another site cannot set this header without a preflight, which is never granted."""

    def guarded(request: Request) -> Response:
        if request.headers.get("x-vla-lens") != "1":
            return JsonAnswer({"error": "requests that start or stop runs need the header X-VLA-Lens: 1"}, 403)
        return answer(request)

    return guarded


def _text(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if value is None:
        raise UserError(f"the request lacks the parameter {name!r}")
    return value


def _number(request: Request, name: str) -> int:
    value = _text(request, name)
    if not value.isdecimal() or len(value) > 9:
        raise UserError(f"the parameter {name!r} is {value[:40]!r}; expected a whole number, zero or more")
    return int(value)


def _asked(request: Request) -> Asked:
    dataset, episode, checkpoint = (_text(request, name) for name in ("dataset", "episode", "checkpoint"))
    given = request.query_params
    stats, family, cameras = (given.get(name) or None for name in ("action_stats", "family", "cameras"))
    return Asked(dataset, episode, checkpoint, stats, given.get("rows") == "all", family, camera_names(cameras))


def _caching(request: Request) -> dict[str, str]:
    """A link that names the version of its content never changes; one without may."""
    return FOREVER if request.query_params.get("v") else NEVER


def _episode(library: Library, request: Request) -> Response:
    facts: dict[str, Any] = library.read(_text(request, "dataset"), _text(request, "episode"), episode_facts)
    return JsonAnswer(facts, headers=NEVER)


def _truth(library: Library, request: Request) -> Response:
    truth = library.read(_text(request, "dataset"), _text(request, "episode"), ground_truth)
    return JsonAnswer(truth, headers=_caching(request))


def _frame(library: Library, request: Request) -> Response:
    camera, step = _text(request, "camera"), _number(request, "step")
    data, media_type = library.read(
        _text(request, "dataset"), _text(request, "episode"), lambda episode: episode.encoded_frame(camera, step)
    )
    return Response(data, media_type=media_type, headers=_caching(request))


def _thumbnail(library: Library, request: Request) -> Response:
    version = request.query_params.get("v", "")
    picture = thumbnails_of(library).jpeg(_text(request, "dataset"), _text(request, "episode"), version)
    return Response(picture, media_type="image/jpeg", headers=_caching(request))


def _run(library: Library, summaries: StepSummaries, request: Request) -> Response:
    since = request.query_params.get("since", "")
    return JsonAnswer(run_status(queue_of(library), summaries, _asked(request), since), headers=NEVER)


def _step(library: Library, request: Request) -> Response:
    record = queue_of(library).stored(_asked(request), request.query_params.get("v", ""))
    given = request.query_params
    denoising = _number(request, "denoising") if "denoising" in given else None
    wanted = Wanted(given.get("stream", ""), denoising, _layers(request), given.get("camera", ""))
    with record.run.open(_number(request, "step")) as step:
        data = encode_bundle(step, wanted, record.cameras.episode_names)
    return Response(data, media_type="application/octet-stream", headers=_caching(request) | UNPACKED)


def _depth(library: Library, request: Request) -> Response:
    record = queue_of(library).stored(_asked(request), request.query_params.get("v", ""))
    prediction = record.run.read(_number(request, "step"), attention=False)
    data = encode_depth(prediction, _text(request, "camera"), record.cameras.episode_names)
    return Response(data, media_type="application/octet-stream", headers=_caching(request))


def _asked_map(request: Request) -> dict[str, Any]:
    """The parameter that says which map is meant, in JSON."""
    try:
        asked = json.loads(_text(request, "asked"))
    except (ValueError, RecursionError):
        raise UserError("the parameter 'asked' is no JSON") from None
    if not isinstance(asked, dict):
        raise UserError("the parameter 'asked' must hold names and values")
    return asked


def _picture(library: Library, request: Request) -> Response:
    return _attachment(*download(library, request.query_params, _number(request, "step")))


def _plotly(request: Request) -> Response:
    return Response(figures_export.PLOTLY.read_bytes(), media_type="text/javascript", headers=FOREVER | SAFE)


def _attachment(data: bytes, media: str, name: str) -> Response:
    said = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": "sandbox"}
    return Response(data, media_type=media, headers=NEVER | said)


def _layers(request: Request) -> tuple[int, ...] | None:
    given = request.query_params.get("layers")
    if given is None:
        return None
    if not all(part.isdecimal() for part in given.split(",")):
        raise UserError(f"the parameter 'layers' is {given[:40]!r}; expected numbers such as 3,4,5")
    return tuple(map(int, given.split(",")))


def _start(library: Library, request: Request) -> Response:
    queue_of(library).start(_asked(request), _number(request, "at"))
    return JsonAnswer({"ok": True}, headers=NEVER)


def _stop(library: Library, request: Request) -> Response:
    queue_of(library).stop(_asked(request))
    return JsonAnswer({"ok": True}, headers=NEVER)
