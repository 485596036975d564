"""Every causal method finds what a policy depends on by construction, whatever its attention says."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.attribution.registry import method_class
from analysis.attribution.settings import with_settings
from analysis.attribution.target import Target
from analysis.records import Setting
from models.planted import Planted
from models.types import Observation, Part
from tests.analysis.evidence.planted_episodes import PlantedEpisode


def target(method: str) -> Target:
    """The whole action, or of methods that explain one number one of its dimensions, which are equal."""
    return Target(action="reach" if method == "shapley" else None, scalar="action")


PATCHES: list[tuple[str, dict[str, Setting]]] = [
    ("occlusion", {"size": 1, "stride": 1}),
    ("ablation", {"over": "patches"}),
    ("shapley", {"over": "patches", "orders": 4}),
    ("iss", {"over": "patches", "masks": 80}),
]
WORDS: list[tuple[str, dict[str, Setting]]] = [
    ("ablation", {"over": "words"}),
    ("shapley", {"over": "words", "orders": 4}),
]


def seen(step: int = 2) -> Observation:
    """A noise frame whose patch 5 is far from the frame's mean."""
    found = PlantedEpisode(3).step(step).observation
    frame = found.images["front"].copy()
    frame[4:8, 4:8] = 255 if frame.mean() < 128 else 0
    return Observation({"front": frame}, found.instruction)


@pytest.mark.slow
@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize(("name", "settings"), PATCHES)
def test_the_planted_patch_is_ranked_first(name: str, settings: dict[str, Setting], lies: bool) -> None:
    method = with_settings(method_class(name), settings)
    found = method(Planted("patch", lies=lies), seen(), target(name))
    assert int(np.abs(found.image("front")).argmax()) == 5


@pytest.mark.parametrize(("name", "settings"), WORDS)
def test_the_planted_word_is_ranked_first(name: str, settings: dict[str, Setting]) -> None:
    found = with_settings(method_class(name), settings)(Planted("word", lies=True), seen(), target(name))
    places = found.layout.positions(Part.INSTRUCTION)
    first = places[np.abs(found.scores[places]).argmax()]
    assert found.layout.tokens[first] == "red"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), PATCHES)
def test_nothing_is_found_where_nothing_matters(name: str, settings: dict[str, Setting]) -> None:
    found = with_settings(method_class(name), settings)(Planted("nothing"), seen(), target(name))
    assert not np.abs(found.image("front")).any()
