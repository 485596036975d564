"""Routes of the review page, under /lens/review/: items, drafts, judgements. JSON in, JSON out.

Status 503 says: nothing was stored, keep it and try again. 409: somebody was faster. 422: the id is another
review's; send it under a new one. 400: it will never fit as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from analysis.people import Person
from analysis.review import Collision, IdTaken, ItemTaken, ReviewStore, ReviewsUnavailable
from analysis.review.judgement import judgement_from_json
from app.guard import PERSON
from app.json_answer import JsonAnswer
from app.library import Library
from app.player_files import BASE, REVIEW
from app.review_desks import DESKS, Desk, Sent
from app.review_items import draft_facts, item_facts, listed, looked, moment_facts, review_facts
from models.errors import UserError

NEVER = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
MAX_BODY = 16 * 2**20  # bytes: some parts of a megabyte each
MOST = 8  # items handed out at once
MOST_SECONDS = 10**9  # that a judgement takes: thirty years

Body = dict[str, Any]


def review_routes(library: Callable[[], Library]) -> list[Route]:
    """All routes; ``library`` is called when a request comes."""
    answers: dict[str, Callable[[Library, Person, Body], Any]] = {
        "next": _next,
        "submit": _submit,
        "draft": _draft,
        "renew": _renew,
        "release": _release,
        "stranded": _stranded,
        "discard": _discard,
        "undo": _undo,
        "mine": _mine,
        "moment": _moment,
        "looked": _looked,
    }
    return [
        Route(f"{BASE}/review-files/{{version}}/{{file}}", REVIEW.answer, methods=["GET"]),
        *(Route(f"{BASE}/review/{name}", _answering(library, do), methods=["POST"]) for name, do in answers.items()),
    ]


def _answering(
    library: Callable[[], Library], answer: Callable[[Library, Person, Body], Any]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.headers.get("x-vla-lens") != "1":  # which pages of other sites cannot set
            return JsonAnswer({"error": "requests need the header X-VLA-Lens: 1"}, 403, headers=NEVER)
        text = bytearray()
        async for piece in request.stream():
            text += piece
            if len(text) > MAX_BODY:
                return JsonAnswer({"error": f"more than {MAX_BODY:,} bytes were sent"}, 413, headers=NEVER)
        return await run_in_threadpool(_answered, library, answer, request, bytes(text))

    return endpoint


def _answered(
    library: Callable[[], Library], answer: Callable[[Library, Person, Body], Any], request: Request, text: bytes
) -> Response:
    try:
        body = _body(text)
        opened = library()
        person = request.scope.get(PERSON) or opened.workspace.people.named(_text(body, "person"))
        return JsonAnswer(answer(opened, person, body), headers=NEVER)
    except ReviewsUnavailable as error:
        library().forget_reviews()
        return _refused(503, error)
    except (Collision, ItemTaken) as error:
        return _refused(409, error)
    except IdTaken as error:
        return _refused(422, error)
    except _Forbidden as error:
        return _refused(403, error)
    except UserError as error:
        return _refused(400, error)


def _refused(status: int, error: UserError) -> Response:
    return JsonAnswer({"error": str(error)}, status, headers=NEVER)


class _Forbidden(UserError):
    """The person's role does not allow it."""


def _desk(body: Body, person: Person) -> Desk:
    desk = DESKS.get(_text(body, "desk"))
    if desk is None:
        raise UserError(f"there is no desk {body['desk']!r:.40}; there are {', '.join(DESKS)}")
    if desk.for_leads and not person.role.leads:
        raise _Forbidden(f"{person.name} is {person.role}; only leads decide here")
    return desk


def _next(library: Library, person: Person, body: Body) -> Any:
    store, desk = library.reviews(), _desk(body, person)
    project = store.project(_text(body, "project"))
    skip = body.get("skip", [])
    if not isinstance(skip, list) or not all(isinstance(entry, str) for entry in skip):
        raise UserError(f"'skip' is {skip!r:.80}; expected a list of item ids")
    items = desk.hand_out(store, project, person, min(MOST, _whole(body, "count")), skip)
    answer: Body = {"items": items}
    if body.get("progress") or not items:
        answer["progress"] = _progress(store, project.id, person)
    return answer


def _progress(store: ReviewStore, project: str, person: Person) -> Body:
    """How far the person and the project are; names nobody else."""
    found = store.progress(project)
    mine = next((one for one in found.annotators if one.annotator == person.name), None)
    own = {"mine": mine.reviews if mine else 0, "drafts": mine.drafts if mine else 0}
    counts = {name: getattr(found, name) for name in ("items", "done", "reviews", "wanted", "leased", "conflicts")}
    return own | counts | {"gold": found.gold if person.role.leads else None}


def _submit(library: Library, person: Person, body: Body) -> Any:
    judgement = body.get("judgement")
    if not (judgement is None or isinstance(judgement, dict)):
        raise UserError(f"'judgement' is {judgement!r:.80}; expected an object")
    sent = Sent(
        _text(body, "id"),
        _text(body, "item"),
        None if judgement is None else judgement_from_json(judgement),
        _seconds(body),
        _whole(body, "version"),
    )
    return _desk(body, person).take(library.reviews(), person, sent)


def _draft(library: Library, person: Person, body: Body) -> Any:
    content = body.get("content")
    if not isinstance(content, dict):
        raise UserError(f"'content' is {content!r:.80}; expected an object")
    item, review = _text(body, "item"), _text(body, "review")
    store = library.reviews()
    saved = store.save_draft(item, person.name, review, content, _whole(body, "revision"))
    return {"saved": saved, "place": store.has_place(item, person.name)}


def _renew(library: Library, person: Person, body: Body) -> Any:
    store, item = library.reviews(), _text(body, "item")
    held = store.renew(item, person.name)
    return {"held": held, "place": held or store.has_place(item, person.name)}


def _stranded(library: Library, person: Person, body: Body) -> Any:
    """Items on which the person's work came too late, with that work."""
    store = library.reviews()
    project = store.project(_text(body, "project"))
    labels = project.settings.labels
    late = {"version": 0, "reviews": [], "place": False}
    return {
        "items": [
            item_facts(store.item(draft.item), labels) | late | {"draft": draft_facts(draft)}
            for draft in store.stranded_drafts(project.id, person.name)
        ]
    }


def _discard(library: Library, person: Person, body: Body) -> Any:
    library.reviews().delete_draft(_text(body, "item"), person.name)
    return {}


def _release(library: Library, person: Person, body: Body) -> Any:
    return {"released": library.reviews().release(_text(body, "item"), person.name)}


def _undo(library: Library, person: Person, body: Body) -> Any:
    store = library.reviews()
    done = store.undo(_text(body, "review"), person.name, _text(body, "id"))
    item = store.item(done.item)
    labels = store.project(item.project).settings.labels
    return {"item": item_facts(item, labels) | {"version": 0, "reviews": []}, "undo": review_facts(done)}


def _mine(library: Library, person: Person, body: Body) -> Any:
    """The person's own reviews that count, newest last."""
    found = library.reviews().reviews(_text(body, "project"))
    mine = sorted((one for one in found if one.annotator == person.name), key=lambda one: one.time)
    return {"reviews": listed(mine[-50:])}


def _moment(library: Library, person: Person, body: Body) -> Any:
    start, stop = _whole(body, "start"), _whole(body, "stop")
    return library.read(
        _text(body, "dataset"), _text(body, "episode"), lambda episode: moment_facts(episode, start, stop)
    )


def _looked(library: Library, person: Person, body: Body) -> Any:
    step, record = _whole(body, "step"), _text(body, "record")
    episode = library.episode(_text(body, "dataset"), _text(body, "episode"))
    return {"looked": looked(library, episode, step, record)}


def _body(text: bytes) -> Body:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError("the request is no JSON") from None
    if not isinstance(body, dict):
        raise UserError("the request is no JSON object")
    return body


def _seconds(body: Body) -> float | None:
    """How long a judgement took; None where the page cannot tell."""
    value = body.get("seconds")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    if value > MOST_SECONDS:
        raise UserError(f"'seconds' is {value!r:.40}; expected up to {MOST_SECONDS:,}")
    return float(value)


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise UserError(f"{name!r} is {value!r:.40}; expected a text")
    return value


def _whole(body: Body, name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**12:
        raise UserError(f"{name!r} is {value!r:.40}; expected a whole number, zero or more")
    return value
