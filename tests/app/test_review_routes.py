"""The review routes: what is handed out and taken, and which status says what."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from analysis.review import ProjectSettings, ReviewStore, Source
from analysis.workspace import Workspace
from app.library import WORKSPACE_VARIABLE, Library, current
from app.review_routes import review_routes
from app.server import until_the_end
from models.types import Rationale
from tests.browser.world import HTML, write_synthetic_episode

PARTS = {"observation": HTML, "situation": "the block lies on the table", "spatial": "left", "planning": "1. go"}
RIGHT = {"parts": [{"part": name, "verdict": "correct"} for name in PARTS], "overall": "accept", "comment": ""}
FIXED = {
    "parts": [
        {"part": "situation", "verdict": "wrong", "errors": ["wrong place"], "correction": "it lies in the drawer"}
    ],
    "overall": "correct",
}


class Desk:
    """One person's requests about one project."""

    def __init__(self, client: TestClient, project: str, person: str, desk: str = "review") -> None:
        self.client = client
        self.common = {"project": project, "person": person, "desk": desk}

    def ask(self, name: str, status: int = 200, **body: Any) -> Any:
        sent = self.common | body
        answer = self.client.post(f"/lens/review/{name}", json=sent, headers={"X-VLA-Lens": "1"})
        assert answer.status_code == status, answer.text
        return answer.json()

    def sends_as_it_is(self, name: str, **body: Any) -> None:
        """As a browser does: half a sign by its escape."""
        text = json.dumps(self.common | body)
        answer = self.client.post(f"/lens/review/{name}", content=text, headers={"X-VLA-Lens": "1"})
        assert answer.status_code == 200, answer.text

    def items(self, count: int = 3, **body: Any) -> list[dict[str, Any]]:
        return self.ask("next", count=count, skip=[], **body)["items"]

    def submit(self, item: str, id: str, judgement: Any = RIGHT, status: int = 200, version: int = 0) -> Any:
        return self.ask("submit", status, item=item, id=id, judgement=judgement, seconds=2.5, version=version)


@pytest.fixture
def opened(tmp_path: Path) -> Library:
    write_synthetic_episode(tmp_path / "episodes" / "plain.hdf5", 12, id="plain")
    lead = '[people]\nlead = ["Kim"]\n'
    (tmp_path / "workspace.toml").write_text(f'episodes = ["episodes"]\ncheckpoints = []\n{lead}')
    return Library(Workspace.open(tmp_path))


@pytest.fixture
def store(opened: Library) -> ReviewStore:
    return opened.reviews()


@pytest.fixture
def project(store: ReviewStore, opened: Library) -> str:
    (dataset,) = opened.workspace.datasets()
    meta = opened.episode(dataset.name, "plain").meta
    sources = [
        Source(dataset.name, "plain", meta.digest, meta.instruction, Rationale(PARTS, start, start + 2, "teacher"))
        for start in (0, 4, 8)
    ]
    return store.create_project(ProjectSettings("blocks", overlap=2), sources, "Kim").id


@pytest.fixture
def client(opened: Library) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=review_routes(lambda: opened))) as serving:
        yield serving


@pytest.fixture
def ann(client: TestClient, project: str) -> Desk:
    return Desk(client, project, "Ann")


def test_items_come_with_all_that_is_judged_and_text_as_it_is(ann: Desk) -> None:
    item = ann.items(1)[0]
    assert [part["name"] for part in item["parts"]] == list(PARTS)
    assert item["parts"][0]["text"] == HTML and item["parts"][0]["title"] == "Observation"
    assert item["parts"][0]["verdicts"] == ["correct", "partly", "wrong", "cannot tell"]
    assert item["reviews"] == [] and item["author"] == "teacher"


def test_the_moment_says_what_the_robot_did(ann: Desk) -> None:
    item = next(one for one in ann.items() if one["start"] == 4)
    asked = {key: item[key] for key in ("dataset", "episode", "start", "stop")}
    moment = ann.ask("moment", **asked)
    assert (moment["start"], moment["stop"], moment["end"]) == (4, 6, 12)  # two seconds at five steps a second
    assert len(moment["actions"]) == 8 and moment["names"][-1] == "gripper" and moment["cameras"] == ["shoulder"]
    assert {"name": "x", "unit": "m"}.items() <= moment["changes"][0].items()
    assert ann.ask("looked", dataset=item["dataset"], episode="plain", step=4, record="") == {"looked": None}
    ann.ask("moment", 400, **asked | {"episode": "../../etc/passwd"})


def test_a_judgement_is_taken_once_and_never_handed_out_again(ann: Desk, store: ReviewStore) -> None:
    item = ann.items(1)[0]["id"]
    first = ann.submit(item, "review-0001", FIXED)
    assert ann.submit(item, "review-0001", FIXED) == first
    assert [one.judgement.corrections for one in store.reviews(ann.common["project"]) if one.judgement] == [
        {"situation": "it lies in the drawer"}
    ]
    assert item not in [one["id"] for one in ann.items(8)]
    assert ann.ask("next", count=1, skip=[], progress=True)["progress"]["mine"] == 1
    assert ann.ask("mine")["reviews"][0]["id"] == "review-0001"


def test_drafts_come_back_with_the_item(ann: Desk) -> None:
    item = ann.items(1)[0]["id"]
    kept = {"saved": True, "place": True}
    assert ann.ask("draft", item=item, review="review-0001", content={"comment": "hm"}, revision=2) == kept
    assert ann.ask("draft", item=item, review="review-0001", content={"comment": "h"}, revision=1) == kept | {
        "saved": False
    }
    draft = next(one for one in ann.items() if one["id"] == item)["draft"]
    assert draft["content"] == {"comment": "hm"} and draft["revision"] == 2


HALF = "cut off \ud83d"  # a lone surrogate, as a text that was cut off in the middle of a sign leaves it


def test_half_a_sign_goes_out_and_comes_in_as_any_text(client: TestClient, opened: Library, store: ReviewStore) -> None:
    said = Rationale({"planning": HALF}, 0, 2, "teacher")
    made = store.create_project(ProjectSettings("half"), [Source("episodes", "plain", "d", "go", said)], "Kim")
    ann = Desk(client, made.id, "Ann")
    (item,) = ann.items(1)
    assert item["parts"][0]["text"] == HALF
    ann.sends_as_it_is("draft", item=item["id"], review="review-0001", content={"comment": HALF}, revision=1)
    assert ann.items(1)[0]["draft"]["content"] == {"comment": HALF}
    judgement = {"parts": [], "overall": "reject", "comment": HALF}
    ann.sends_as_it_is("submit", item=item["id"], id="review-0001", judgement=judgement, seconds=1, version=0)
    assert ann.ask("mine")["reviews"][0]["judgement"]["comment"] == HALF


def test_undo_brings_the_item_back(ann: Desk, store: ReviewStore) -> None:
    item = ann.items(1)[0]["id"]
    ann.submit(item, "review-0001")
    back = ann.ask("undo", review="review-0001", id="review-0002")
    assert back["item"]["id"] == item and back["undo"]["judgement"] is None
    assert store.reviews(ann.common["project"]) == ()
    assert len(store.review_history(ann.common["project"])) == 2


def test_who_comes_too_late_is_told(client: TestClient, project: str, store: ReviewStore) -> None:
    item = store.items(project)[0].id
    for name in ("Bob", "Cem"):
        Desk(client, project, name).submit(item, f"review-{name}")
    dan = Desk(client, project, "Dan")
    assert "draft is kept" in dan.submit(item, "review-Dan", status=409)["error"]
    said = dan.ask("draft", item=item, review="review-Dan", content={"comment": "late"}, revision=1)
    assert said == {"saved": True, "place": False}
    assert dan.ask("renew", item=item) == {"held": False, "place": False}
    (kept,) = dan.ask("stranded")["items"]
    assert (kept["id"], kept["draft"]["content"]) == (item, {"comment": "late"})
    dan.ask("discard", item=item)
    assert dan.ask("stranded") == {"items": []}


def test_an_id_of_another_review_asks_for_a_new_one(ann: Desk, store: ReviewStore) -> None:
    item = ann.items(1)[0]["id"]
    ann.submit(item, "review-0001")
    assert "make a new id" in ann.submit(item, "review-0001", FIXED, status=422)["error"]
    ann.submit(item, "review-0002", FIXED)
    assert [one.id for one in store.reviews(ann.common["project"])] == ["review-0002"]


def test_a_lead_takes_a_decision_back(ann: Desk, client: TestClient, project: str, store: ReviewStore) -> None:
    item = ann.items(1)[0]["id"]
    ann.submit(item, "review-0001")
    Desk(client, project, "Bob").submit(item, "review-0002", FIXED)
    for name, standing in (("adjudicate", store.adjudications), ("gold", store.gold)):
        kim = Desk(client, project, "Kim", name)
        assert kim.submit(item, "decision-1", RIGHT | {"comment": "seen"})["version"] == 1
        assert kim.submit(item, "decision-2", None, version=1)["version"] == 2
        assert item not in standing(project)
        assert next(one["version"] for one in kim.items() if one["id"] == item) == 2
    assert "'judgement' is null" in ann.submit(item, "review-0003", None, status=400)["error"]


def test_only_leads_decide_and_only_with_a_reason(ann: Desk, client: TestClient, project: str) -> None:
    item = ann.items(1)[0]["id"]
    ann.submit(item, "review-0001")
    Desk(client, project, "Bob").submit(item, "review-0002", FIXED)
    for desk in ("adjudicate", "gold"):
        theirs = Desk(client, project, "Ann", desk)
        assert "only leads" in theirs.ask("next", 403, count=1, skip=[])["error"]
        theirs.submit(item, "review-0003", status=403)
    kim = Desk(client, project, "Kim", "adjudicate")
    (conflict,) = kim.items()
    assert conflict["differ"] == ["situation"] and {r["annotator"] for r in conflict["reviews"]} == {
        "Ann",
        "Bob",
    }
    assert "needs a reason" in kim.submit(item, "decision-1", RIGHT, status=400)["error"]
    assert kim.submit(item, "decision-1", RIGHT | {"comment": "seen on the frame"})["version"] == 1
    assert kim.items() == []
    assert "meanwhile" in kim.submit(item, "decision-2", RIGHT | {"comment": "no"}, status=409)["error"]
    assert Desk(client, project, "Kim", "gold").submit(item, "answer-01")["version"] == 1


def test_blind_annotators_see_nobody_elses_words(
    ann: Desk, client: TestClient, project: str, store: ReviewStore
) -> None:
    item = ann.items(1)[0]["id"]
    Desk(client, project, "Bob").submit(item, "review-Bob", FIXED)
    assert next(one for one in ann.items() if one["id"] == item)["reviews"] == []
    before = store.project(project)
    opened = ProjectSettings("blocks", overlap=2, blind=False)
    store.edit_project(project, opened, before.version, "Kim")
    (seen,) = next(one for one in ann.items() if one["id"] == item)["reviews"]
    assert seen["annotator"] == "Bob" and seen["judgement"]["overall"] == "correct"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("next", {"count": -1, "skip": []}, "'count' is -1"),
        ("next", {"count": 1, "skip": "all"}, "'skip' is 'all'"),
        ("next", {"count": 1, "skip": [], "desk": "throne"}, "no desk 'throne'"),
        ("next", {"count": 1, "skip": [], "person": " "}, "a name has between"),
        ("next", {"count": 1, "skip": [], "project": "gone"}, "gone"),
        ("submit", {"item": "gone", "id": "review-0001", "judgement": RIGHT, "version": 0}, "gone"),
        ("submit", {"item": "gone", "id": "review-0001", "judgement": [], "version": 0}, "'judgement' is []"),
        ("draft", {"item": "gone", "review": "review-0001", "content": 3, "revision": 0}, "'content' is 3"),
    ],
)
def test_what_makes_no_sense_is_named(ann: Desk, name: str, body: dict[str, Any], said: str) -> None:
    assert said in ann.ask(name, 400, **body)["error"]


@pytest.mark.parametrize(("seconds", "kept"), [(2.5, 2.5), (3, 3.0), (-1, None), ("long", None), (True, None)])
def test_how_long_it_took(ann: Desk, store: ReviewStore, seconds: Any, kept: float | None) -> None:
    item = ann.items(1)[0]["id"]
    ann.ask("submit", item=item, id="review-0001", judgement=RIGHT, seconds=seconds, version=0)
    assert store.reviews(ann.common["project"])[0].seconds == kept


def test_a_time_without_end_is_refused_in_a_sentence(ann: Desk) -> None:
    item = ann.items(1)[0]["id"]
    said = ann.ask("submit", 400, item=item, id="review-0001", judgement=RIGHT, seconds=10**400, version=0)
    assert "'seconds' is 1000" in said["error"]


def test_requests_of_other_pages_and_other_things_than_json(client: TestClient, ann: Desk) -> None:
    assert client.post("/lens/review/mine", json=ann.common).status_code == 403
    for text in ("{", "[]", "[" * 100_000):
        answer = client.post("/lens/review/mine", content=text, headers={"X-VLA-Lens": "1"})
        assert answer.status_code == 400 and "JSON" in answer.json()["error"]


def test_a_store_that_cannot_be_used_says_try_again(ann: Desk, opened: Library) -> None:
    item = ann.items(1)[0]["id"]
    path = opened.workspace.path / "reviews.sqlite"
    kept = path.read_bytes()
    path.unlink()
    said = ann.submit(item, "review-0001", status=503)["error"]
    assert "deleted or replaced" in said
    for extra in ("-wal", "-shm"):
        Path(f"{path}{extra}").unlink(missing_ok=True)
    path.write_bytes(kept)


def test_when_the_server_has_ended_one_file_holds_all(
    opened: Library, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened.workspace.path
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(folder))
    with closing(sqlite3.connect(folder / "reviews.sqlite")) as other:  # which leaves the log where it is
        other.execute("SELECT count(*) FROM reviews").fetchone()
        # Streamlit starts once a process, so its part of the server stays out.
        with TestClient(Starlette(routes=review_routes(current), lifespan=until_the_end)) as client:
            ann = Desk(client, project, "Ann")
            ann.submit(ann.items(1)[0]["id"], "review-0001")
        (folder / "copy.sqlite").write_bytes((folder / "reviews.sqlite").read_bytes())
    assert [one.id for one in ReviewStore.open(folder / "copy.sqlite").reviews(project)] == ["review-0001"]
