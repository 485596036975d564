"""Downloads of the player's view."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from analysis.attribution.attribution_run import attribute_episode, attribution_key
from analysis.attribution.registry import method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from analysis.capture_run import capture_episode
from analysis.records import capture_key
from analysis.workspace import Workspace
from app.library import Library
from app.routes import lens_routes
from models.types import Capture
from tests.tiny_episode import write_tiny_episode


@pytest.fixture(scope="module")
def client(tmp_path_factory, tiny_base):
    import models

    folder = tmp_path_factory.mktemp("ws")
    write_tiny_episode(folder / "data/tiny.hdf5")
    (folder / "workspace.toml").write_text(f'episodes = ["data"]\ncheckpoints = ["{tiny_base}"]\n')
    workspace = Workspace.open(folder)
    (spec,) = workspace.checkpoints()
    dataset = workspace.datasets()[0].name
    episode = workspace.episode("tiny", dataset)
    run = workspace.records.run(capture_key(spec.digest, episode.meta.digest, Capture()))
    policy = models.load(tiny_base)
    capture_episode(policy, episode, run, steps=range(2))
    method, target = with_settings(method_class("attention-mean"), {}), Target.parse("x", None)
    explained = workspace.records.run(attribution_key(spec.digest, episode.meta.digest, method, target))
    attribute_episode(policy, episode, explained, steps=[1])
    app = TestClient(Starlette(routes=lens_routes(lambda: Library(workspace))))
    return app, {"dataset": dataset, "episode": "tiny", "checkpoint": spec.digest, "step": 1}


@pytest.mark.slow
def test_a_view_comes_as_a_file(client):
    app, given = client
    answer = app.get("/lens/picture", params=given | {"format": "png", "reduce": "mean", "map": "magma"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert 'filename="tiny-step1.png"' in answer.headers["content-disposition"]
    picture = Image.open(io.BytesIO(answer.content))
    assert "mean of all heads" in picture.text["Description"] and given["checkpoint"] in picture.text["Description"]
    answer = app.get("/lens/picture", params=given | {"format": "svg"})
    assert answer.text.startswith("<svg") and answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["content-disposition"].startswith("attachment")
    with np.load(io.BytesIO(app.get("/lens/picture", params=given | {"format": "npz"}).content)) as data:
        assert data["panel0_part0_values"].size
    assert b"panel,part,row" in app.get("/lens/picture", params=given | {"format": "csv"}).content


def test_heads_words_actions_and_odds_come_as_files(client):
    app, given = client
    for what, said in (
        ("heads", b"layer,head"),
        ("tokens", b"position,part"),
        ("actions", b"recorded"),
        ("odds", b"bin"),
    ):
        answer = app.get("/lens/picture", params=given | {"format": "csv", "what": what})
        assert answer.status_code == 200 and said in answer.content and given["checkpoint"].encode() in answer.content
        assert f'filename="tiny-step1-{what}.csv"' in answer.headers["content-disposition"]


def test_a_map_of_another_method_comes_as_it_is_on_screen(client):
    app, given = client
    asked = given | {"method": "attention-mean", "target": "x"}
    said = app.get("/lens/picture", params=asked | {"format": "svg"}).text
    assert "attention-mean · target: x (" in said and "top-k" not in said
    words = app.get("/lens/picture", params=asked | {"format": "csv", "what": "tokens"}).text
    assert "attention-mean · target: x (" in words
    other = app.get("/lens/picture", params=asked | {"format": "svg", "step": 0}).text
    assert "has not been run" in other


@pytest.mark.slow
def test_two_checkpoints_come_side_by_side(client):
    app, given = client
    answer = app.get("/lens/picture", params=given | {"format": "png", "other": given["checkpoint"]})
    assert Image.open(io.BytesIO(answer.content)).width > 3 * 512


@pytest.mark.slow
def test_a_film_shows_the_steps_that_were_run(client):
    app, given = client
    answer = app.get("/lens/picture", params=given | {"format": "gif"})
    assert answer.headers["content-type"] == "image/gif" and Image.open(io.BytesIO(answer.content)).n_frames == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "exe"},
        {"step": 99, "format": "png"},
        {"reduce": "x", "format": "png"},
        {"episode": "nobody", "format": "png"},
        {"checkpoint": "0" * 16, "format": "png"},
        {"what": "hat", "format": "png"},
        {"method": "magic", "target": "x", "format": "png"},
        {"method": "attention-mean", "format": "png"},
    ],
)
def test_what_cannot_be_made_is_said(client, wrong):
    app, given = client
    answer = app.get("/lens/picture", params=given | wrong)
    assert answer.status_code == 404 and answer.json()["error"]
