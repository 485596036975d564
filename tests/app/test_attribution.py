"""What the player asks about attribution, without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.attribution.feature_ablation import FeatureAblation
from analysis.attribution.registry import METHODS
from analysis.attribution.target import Target
from analysis.episodes import open_source
from analysis.workspace import Workspace
from app.attribution import attribute_order, methods_order, stored_maps
from app.library import Library
from app.shared_policies import PolicyChoice
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.types import CheckpointSpec


@pytest.fixture
def library(tmp_path: Path, tiny_tuned: Path, tiny_episode: Path) -> Library:
    (tmp_path / "workspace.toml").write_text(f'episodes = ["{tiny_episode}"]\ncheckpoints = ["{tiny_tuned}"]\n')
    return Library(Workspace.open(tmp_path))


@pytest.fixture
def asked(library: Library, tiny_episode: Path) -> dict:
    spec = next(each for each in library.workspace.checkpoints() if isinstance(each, CheckpointSpec))
    (dataset,) = library.workspace.datasets()
    meta = next(iter(open_source(tiny_episode).scan()))
    return {"dataset": dataset.name, "episode": meta.id, "checkpoint": spec.digest, "method": "ablation", "target": "x"}


@pytest.mark.slow
def test_a_step_is_explained_once_and_found_again(library: Library, asked: dict, tiny_tuned: Path) -> None:
    import models

    settings = {"over": "regions", "side": "2"}
    body = asked | {"settings": settings, "step": 1}
    assert stored_maps(library, body) == {"steps": [], "map": None}
    order = attribute_order(library, body)
    told: list[tuple[int, int]] = []
    policy = models.load(tiny_tuned)
    assert order.work((policy,), lambda *each: told.append(each), lambda: False) == {"computed": 1}
    assert told[-1][0] == told[-1][1]
    found = stored_maps(library, body)
    assert found["steps"] == [1]
    json.dumps(found, allow_nan=False)
    made = found["map"]
    assert made["signed"] and made["title"] == FeatureAblation.title and made["settings"]["side"] == 2
    assert made["target"] == "x" and made["scalar"] == "action" and made["doubts"] == [] and made["error"] is None
    direct = FeatureAblation(over="regions", side=2)
    opened = library.episode(asked["dataset"], asked["episode"])
    expected = direct(policy, opened.step(1).observation, Target(action="x", scalar="action"))
    assert made["scores"] == pytest.approx(expected.scores, rel=1e-4, abs=1e-9)
    assert order.work((policy,), lambda *each: None, lambda: False) == {"computed": 0}
    assert attribute_order(library, asked | {"settings": settings, "step": None}).key != order.key


def test_the_policy_is_opened_as_it_was_asked_for(library: Library, asked: dict) -> None:
    order = attribute_order(library, asked | {"step": 1, "family": "paligemma"})
    assert tuple(order.policies) == (PolicyChoice(asked["checkpoint"], family="paligemma"),)


def test_methods_say_what_can_run(library: Library, asked: dict) -> None:
    order = methods_order(library, asked)
    listed = order.work((PlantedChunkPolicy(),), lambda *each: None, lambda: False)
    assert [each["name"] for each in listed] == list(METHODS)
    reasons = {each["name"]: each["why_not"] for each in listed}
    assert reasons["iss"] is None and "offers no embeddings" in reasons["saliency"]
    assert all(setting["help"] for each in listed for setting in each["settings"])
    json.dumps(listed, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "no attribution method"),
        ({"method": 4}, "lacks 'method'"),
        ({"target": ""}, "lacks 'target'"),
        ({"settings": ["a"]}, "names and values"),
        ({"settings": {"side": "many"}}, "expected a whole number"),
        ({"step": 99}, "there is no step 99"),
        ({"step": "1"}, "there is no step 1"),
        ({"cameras": "front"}, "list of names"),
        ({"checkpoint": "f" * 16}, "no usable checkpoint"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(library: Library, asked: dict, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        attribute_order(library, asked | {"step": 0} | change)
