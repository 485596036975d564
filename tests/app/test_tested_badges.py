"""What the player asks about the test of a map, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.evidence.asked_map import AskedMap
from analysis.evidence.episodes import subject
from analysis.evidence.measurements import write_values
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.workspace import Workspace
from app.library import Library
from app.tasks import Cancelled
from app.tested_badges import map_badge, map_test_order
from models.errors import UserError
from models.types import CheckpointSpec
from tests.browser.world import write_synthetic_episode

HEAD: dict[str, Any] = {"method": "attention", "query": "action", "settings": {"reduce": "head", "layer": 1, "head": 2}}


@pytest.fixture
def library(tmp_path: Path, tiny_tuned: Path) -> Library:
    write_synthetic_episode(tmp_path / "episodes" / "one.hdf5", 9, id="one")
    (tmp_path / "workspace.toml").write_text(f'episodes = ["episodes"]\ncheckpoints = ["{tiny_tuned}"]\n')
    return Library(Workspace.open(tmp_path))


@pytest.fixture
def asked(library: Library) -> dict[str, Any]:
    spec = next(each for each in library.workspace.checkpoints() if isinstance(each, CheckpointSpec))
    return {"dataset": library.workspace.datasets()[0].name, "episode": "one", "checkpoint": spec.digest} | HEAD


@pytest.mark.slow
def test_a_test_is_kept_step_by_step_and_its_badge_says_how_far_it_came(
    library: Library, asked: dict[str, Any], tiny_tuned: Path
) -> None:
    import models

    found = map_badge(library, asked)
    assert (found["state"], found["steps"]) == ("not tested", 9)
    json.dumps(found, allow_nan=False)
    order = map_test_order(library, asked)

    def stop(done: int, total: int) -> None:
        assert total == 9
        if done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        order.work((models.load(tiny_tuned),), stop, lambda: False)
    assert "1 step of this episode and 0 of others were measured" in map_badge(library, asked)["why"]
    other = map_badge(library, asked | {"settings": {"reduce": "head", "layer": 1, "head": 1}})
    assert "1 step measured of other maps" in other["why"]


def test_what_others_measured_meanwhile_counts_at_once(library: Library, asked: dict[str, Any]) -> None:
    assert map_badge(library, asked)["state"] == "not tested"
    spec = next(each for each in library.workspace.checkpoints() if isinstance(each, CheckpointSpec))
    own = subject(spec, library.workspace.episode("one", asked["dataset"]))
    key = own.key(spec.digest, FaithfulnessProbe(AskedMap.of("attention", HEAD["settings"], "action").fitted(spec)))
    for step in range(8):
        write_values(library.workspace.records, key, step, {"deletion gain": 0.1, "insertion gain": -0.1})
    assert (found := map_badge(library, asked))["state"] == "failed" and found["n"] == "n = 8 steps"


def test_the_same_map_is_the_same_task_however_it_is_asked_for(library: Library, asked: dict[str, Any]) -> None:
    key = map_test_order(library, asked).key
    assert map_test_order(library, asked | {"settings": {"reduce": "head", "layer": "1", "head": "2"}}).key == key
    assert map_test_order(library, asked | {"query": "action.x"}).key != key


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"method": "glance"}, "there is no attribution method 'glance'"),
        ({"settings": [1]}, "names no map"),
        ({"query": 3}, "names no map"),
        ({"settings": {"reduce": "least"}}, "it can be head, mean"),
        ({"episode": "nothing"}, "nothing"),
    ],
)
def test_what_names_no_map_is_refused(
    library: Library, asked: dict[str, Any], wrong: dict[str, Any], said: str
) -> None:
    for ask in (map_badge, map_test_order):
        with pytest.raises(UserError, match=said):
            ask(library, asked | wrong)
