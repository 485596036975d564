"""The routes that the player reads, without a browser and without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from analysis.review.reviewed_source import ReviewedEpisode
from app.library import Library
from app.player_files import PLAYER
from models.types import Rationale
from tests.browser.world import HTML, checkpoint_named, synthetic_prediction


@pytest.fixture
def asked(workspace: Path, dataset: str) -> dict[str, str]:
    return {"dataset": dataset, "episode": "good", "checkpoint": checkpoint_named(workspace, "tuned").digest}


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


@pytest.mark.slow
def test_episode_facts(client: TestClient, dataset: str) -> None:
    facts = client.get("/lens/episode", params={"dataset": dataset, "episode": "good"}).json()
    assert (facts["length"], facts["fps"], facts["success"]) == (5, 5, True)
    assert facts["cameras"] == [{"name": "shoulder", "width": 256, "height": 256}]
    assert len(facts["actions"]) == 5 and len(facts["actions"][0]) == 7


def test_half_a_sign_in_a_text_is_sent_too(
    client: TestClient, library: Library, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"planning": "cut off \ud83d"}
    whole = library.episode(dataset, "good")
    half = ReviewedEpisode(whole, whole.meta, (Rationale(said, 0, 2, "teacher"),))
    monkeypatch.setitem(library._episodes, (dataset, "good"), half)
    facts = client.get("/lens/episode", params={"dataset": dataset, "episode": "good"}).json()
    assert facts["rationales"][0]["parts"] == said


def test_frame_is_passed_through_as_stored(client: TestClient, library: Library, dataset: str) -> None:
    answer = client.get(
        "/lens/frame", params={"dataset": dataset, "episode": "good", "camera": "shoulder", "step": 2, "v": 1}
    )
    assert answer.content == library.episode(dataset, "good").encoded_frame("shoulder", 2)[0]
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_a_version_nothing_is_cached(client: TestClient, dataset: str) -> None:
    answer = client.get("/lens/frame", params={"dataset": dataset, "episode": "good", "camera": "shoulder", "step": 2})
    assert answer.headers["cache-control"] == "no-store"


def test_truth(client: TestClient, dataset: str) -> None:
    truth = client.get("/lens/truth", params={"dataset": dataset, "episode": "good"}).json()
    assert truth["phases"] == ["reach", "reach", "grasp", "carry", "release"]
    assert truth["boxes"]["shoulder"]["labels"] == ["red block"]
    assert truth["boxes"]["shoulder"]["steps"][0][0] == [0, 40, 40, 80]


def test_status_of_a_stored_run(client: TestClient, asked: dict[str, str]) -> None:
    status = client.get("/lens/run", params=asked).json()
    assert (status["state"], status["captured"], status["automatic"]) == ("complete", 5, False)
    np.testing.assert_allclose(status["steps"]["3"]["action"], synthetic_prediction(3).actions[0], rtol=1e-5)
    again = client.get("/lens/run", params=asked | {"since": status["revision"]}).json()
    assert again["steps"] == {}


def test_step_carries_exact_rows(client: TestClient, asked: dict[str, str]) -> None:
    answer = client.get("/lens/step", params=asked | {"step": "3", "v": "1"})
    header, body = unpack(answer.content)
    expected = synthetic_prediction(3)
    start, shape = header["weights"]["offset"], header["weights"]["shape"]
    rows = np.frombuffer(body, "<f2", int(np.prod(shape)), start).reshape(shape)
    np.testing.assert_array_equal(rows, expected.attention[0].weights.astype(np.float16))
    assert header["queries"] == list(expected.attention[0].queries)
    assert header["spans"][0]["grid"] == {"camera": "shoulder", "rows": 8, "columns": 8, "box": [0, 0, 256, 256]}
    first = header["distributions"][0]
    chances = np.frombuffer(body, "<f4", 256, first["probabilities"]["offset"])
    np.testing.assert_array_equal(chances, expected.action_distribution[0].probabilities)
    assert first["chosen"] == pytest.approx(expected.actions[0, 0])
    assert answer.headers["content-encoding"] == "identity"


def test_step_with_some_layers(client: TestClient, asked: dict[str, str]) -> None:
    header, body = unpack(client.get("/lens/step", params=asked | {"step": "3", "layers": "4,5"}).content)
    assert header["layers"] == [4, 5]
    rows = np.frombuffer(body, "<f2", int(np.prod(header["weights"]["shape"])), header["weights"]["offset"])
    np.testing.assert_array_equal(rows, synthetic_prediction(3).attention[0].weights[4:].astype(np.float16).ravel())


def test_all_rows_are_asked_for_by_a_parameter(client: TestClient, asked: dict[str, str]) -> None:
    plain = client.get("/lens/run", params=asked).json()
    everything = client.get("/lens/run", params=asked | {"rows": "all"}).json()
    assert (plain["captured"], everything["captured"], everything["automatic"]) == (5, 0, True)
    assert everything["revision"].split(":")[0] != plain["revision"].split(":")[0]


def test_status_names_actions_cameras_and_layers(client: TestClient, asked: dict[str, str]) -> None:
    status = client.get("/lens/run", params=asked | {"episode": "two"}).json()
    assert status["actions"] == {"names": ["reach", "grip"], "units": ["m", "1"]}
    assert (status["cameras"], status["note"]) == ({"front": "front"}, "")
    assert (
        len(status["steps"]["0"]["reach"]) == 2 and status["steps"]["0"]["reach"][0] == status["steps"]["0"]["action"]
    )
    assert status["layers"][""] == status["layers"]["language"] == [0, 1]
    text = client.get("/lens/run", params=asked | {"episode": "text"}).json()
    assert text["actions"] == {"names": [], "units": []} and text["steps"]["0"]["action"] is None


def step_of(client: TestClient, asked: dict[str, str], **wanted: str) -> tuple[dict[str, Any], np.ndarray]:
    """Header and rows of the first step of the planted chunk policy."""
    header, body = unpack(client.get("/lens/step", params=asked | {"episode": "two", "step": "0"} | wanted).content)
    weights = header["weights"]
    rows = np.frombuffer(body, "<f2", int(np.prod(weights["shape"])), weights["offset"]).reshape(weights["shape"])
    return header, rows


@pytest.mark.parametrize(
    ("wanted", "stream", "denoising", "on_patch"),
    [
        ({}, "action expert", 2, 0.6),
        ({"denoising": "0"}, "action expert", 0, 0.2),
        ({"denoising": "77"}, "action expert", 2, 0.6),
        ({"stream": "nothing"}, "action expert", 2, 0.6),
        ({"stream": "language"}, "language", None, 1 / 17),
    ],
)
def test_a_step_holds_the_rows_that_are_wanted(
    client: TestClient, asked: dict[str, str], wanted: dict[str, str], stream: str, denoising: int, on_patch: float
) -> None:
    header, rows = step_of(client, asked, **wanted)
    assert (header["stream"], header["denoising_step"]) == (stream, denoising)
    assert header["streams"] == [
        {"name": "language", "denoising": []},
        {"name": "action expert", "denoising": [0, 1, 2]},
    ]
    assert rows[0, 0, 0, :4].max() == pytest.approx(on_patch, abs=1e-3)
    assert (header["written"], len(header["action"]), header["logprobs"]) == (4, 4, [])


def test_single_layers_of_a_stream(client: TestClient, asked: dict[str, str]) -> None:
    header, rows = step_of(client, asked, denoising="1", layers="1")
    assert (header["layers"], header["captured"], rows.shape[0]) == ([1], [0, 1], 1)


def test_marks_and_depth_are_under_the_episodes_names(client: TestClient, asked: dict[str, str]) -> None:
    header, _ = step_of(client, asked)
    assert [(mark["camera"], mark["kind"]) for mark in header["marks"]] == [("front", "box"), ("wrist", "point")]
    assert header["depth"][0]["camera"] == "front"
    where = asked | {"episode": "two", "step": "0"}
    depth, body = unpack(client.get("/lens/depth", params=where | {"camera": "front"}).content)
    metres = np.frombuffer(body, "<f4", 4, depth["metres"]["offset"])
    assert (metres.min(), metres.max()) == pytest.approx((depth["nearest"], depth["farthest"]), rel=1e-5)
    answer = client.get("/lens/depth", params=where | {"camera": "wrist"})
    assert answer.status_code == 404 and "no depth of the camera 'wrist'" in answer.json()["error"]


def test_a_step_of_a_model_without_actions(client: TestClient, asked: dict[str, str]) -> None:
    header, _ = unpack(client.get("/lens/step", params=asked | {"episode": "text", "step": "0"}).content)
    assert (header["action"], header["distributions"], header["stream"]) == ([], [], "language")
    assert [span["grid"]["box"] for span in header["spans"][:3]] == [
        [0, 0, 256, 256],
        [0, 0, 128, 256],
        [128, 0, 256, 256],
    ]


@pytest.mark.parametrize(
    ("path", "change", "says"),
    [
        ("episode", {"episode": "nowhere"}, "no readable episode 'nowhere'"),
        ("episode", {"dataset": "../../etc"}, "no data set '../../etc'"),
        ("frame", {"camera": "wrist", "step": "0"}, "no camera 'wrist'"),
        ("frame", {"camera": "shoulder", "step": "99"}, "steps 0 to 4"),
        ("frame", {"camera": "shoulder", "step": "-1"}, "whole number"),
        ("frame", {"camera": "shoulder", "step": "٣" * 12}, "whole number"),
        ("frame", {"camera": "shoulder"}, "lacks the parameter 'step'"),
        ("run", {"checkpoint": "../../root"}, "no usable checkpoint"),
        ("run", {"family": "abacus"}, "no model family 'abacus'"),
        ("run", {"cameras": "nose"}, "no camera 'nose'; its cameras are shoulder"),
        ("step", {"step": "3", "denoising": "x"}, "whole number"),
        ("step", {"step": "77"}, "step 77"),
        ("step", {"step": "3", "layers": "4;5"}, "expected numbers"),
    ],
)
def test_bad_requests_get_a_sentence(
    client: TestClient, asked: dict[str, str], path: str, change: dict[str, str], says: str
) -> None:
    answer = client.get(f"/lens/{path}", params=asked | change)
    assert answer.status_code == 404
    assert says in answer.json()["error"]


@pytest.mark.parametrize("name", ["../../main.py", "..%2F..%2Fmain.py", "player.css", "none.js"])
def test_only_the_players_modules_are_served(client: TestClient, name: str) -> None:
    assert client.get(f"{PLAYER.address}/{name}").status_code == 404


def test_player_modules_are_cached_for_good(client: TestClient) -> None:
    answer = client.get(f"{PLAYER.address}/main.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/lens/player/000000000000/main.js").status_code == 404


def test_strange_ids_and_instructions_come_back_as_json(client: TestClient, dataset: str) -> None:
    facts = client.get("/lens/episode", params={"dataset": dataset, "episode": "../../etc/passwd"}).json()
    assert facts["instruction"] == HTML
    long = client.get("/lens/episode", params={"dataset": dataset, "episode": "long"}).json()
    assert long["instruction"] == "x" * 10_000


def test_another_site_cannot_start_a_run(client: TestClient, asked: dict[str, str]) -> None:
    assert client.post("/lens/start", params=asked | {"at": "0"}).status_code == 403
    assert client.post("/lens/stop", params=asked).status_code == 403
    assert client.get("/lens/start", params=asked | {"at": "0"}).status_code == 405
