"""What verdicts and badges say about measurements that are made by hand, holes among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from analysis.cameras import plan_cameras
from analysis.evidence.comparison import compare
from analysis.evidence.faithful import faithful
from analysis.evidence.measurements import MeasuredStep, Measurements, Place, Subject, measure
from analysis.evidence.probe import probe
from analysis.evidence.verdict import Word
from analysis.evidence.verdicts import grounded, instruction_used, reasoning_used
from analysis.records import RecordStore
from analysis.text_edits import opposite, without_words
from analysis.types import SceneObject, Step
from models.planted import Planted
from models.types import Rationale
from tests.analysis.evidence.planted_episodes import PlantedEpisode

INSTRUCTION = {"blank": 0.0, "shuffled": 0.0, "other object": 0.0, "negated": 0.0, "paraphrase": 0.0}
RATIONALE = dict.fromkeys(("contrary", "another step", "swap", "opposite", "drop", "none", "random"), 0.0)
RATIONALE |= {"random for contrary": 0.0, "random for another step": 0.0, "first": 1.0}


def made(values: Mapping[str, float], probe: str = "", episodes: int = 8) -> Measurements:
    """The same values in every episode; those above 0 differ a little from one to the next."""
    steps = [
        MeasuredStep(
            Place(f"episode {number}", str(number), 0),
            {f"{probe} {name}".strip(): value * (1 + number / 100) for name, value in values.items()},
        )
        for number in range(episodes)
    ]
    return Measurements("digest", "policy", tuple(steps), {}, unit="bits")


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        ({}, "not used"),
        ({"other object": 0.3, "negated": 0.2, "blank": 0.4}, "used"),
        ({"blank": 0.4}, "its form only"),
        ({"blank": 0.4, "paraphrase": 0.4}, "its form only"),  # a word that both of them lose
        ({"other object": 0.3, "negated": 0.3, "paraphrase": 0.3}, "cannot tell"),
        ({"other object": 0.3, "negated": 0.3, "paraphrase": nan}, "cannot tell"),  # no baseline is not a baseline of 0
        ({"paraphrase": 0.3}, "cannot tell"),
    ],
)
def test_the_instruction(moved: dict[str, float], says: str) -> None:
    assert instruction_used(made(INSTRUCTION | moved, "instruction")).says == says


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        ({}, "decorative"),
        ({"contrary": 0.3}, "used"),
        ({"contrary": 0.3, "random for contrary": 0.3, "random": 0.3}, "its words only"),
        ({"drop": 0.3}, "its words only"),
        ({"none": 0.3}, "its words only"),
        ({"none": nan}, "cannot tell"),  # nothing says that its words are of no use
        ({"contrary": nan, "another step": nan, "none": 0.0}, "decorative"),
        # The edit was refused and its control was not: the other pair alone is compared.
        ({"contrary": nan, "another step": 0.3, "random for another step": 0.3}, "cannot tell"),
    ],
)
def test_the_rationale(moved: dict[str, float], says: str) -> None:
    assert reasoning_used(made(RATIONALE | moved, "rationale")).says == says


def test_a_rationale_of_which_nothing_could_be_edited_is_not_judged() -> None:
    nothing = dict.fromkeys(RATIONALE, nan) | {"first": 1.0}
    assert reasoning_used(made(nothing, "rationale")).word is Word.TOO_FEW


def test_opposites_turn_round_and_back() -> None:
    said = Rationale(
        {"spatial": "The cup is 2 cm Left of it, far above.", "planning": "lower, open the gripper, go up"}
    )
    turned = opposite(said)
    assert turned.parts == {
        "spatial": "The cup is 2 cm right of it, near below.",
        "planning": "raise, close the gripper, go down",
    }
    assert opposite(opposite(turned)).parts == turned.parts
    assert opposite(Rationale({"": "the cup"})).parts == {"": "the cup"}
    assert without_words(said).parts == {"spatial": "", "planning": ""}


class HiddenCup(PlantedEpisode):
    """The named cup has a mask, and no pixel of it is in view."""

    def step(self, index: int) -> Step:
        hidden = SceneObject("red cup", mask=np.zeros((16, 16), bool))
        return replace(super().step(index), objects={"front": (hidden,)})


def test_a_named_thing_that_is_out_of_view_says_nothing_about_grounding(tmp_path: Path) -> None:
    episodes = [*(HiddenCup(number) for number in range(1, 7)), *(PlantedEpisode(number) for number in range(7, 13))]
    subjects = [Subject(episode, plan_cameras((), episode.meta.cameras)) for episode in episodes]
    found = measure(Planted("patch"), subjects, [probe("attention")], RecordStore(tmp_path), 1)
    verdict = grounded(found, "attention")
    assert verdict.says == "above chance"
    assert verdict.effect is not None and verdict.effect.estimate.n == 6
    assert {number.estimate.n for number in verdict.numbers if "entropy" not in number.label} == {6}


def test_what_is_not_finite_is_not_compared() -> None:
    one = made({"action error": 0.1})
    other = replace(one, steps=(replace(one.steps[0], values={"action error": inf}), *one.steps[1:]))
    (row,) = [row for row in compare(one, other).rows if not np.isnan(row.p)]
    assert (row.difference.n, row.p) == (7, 1.0)


def test_a_badge_names_the_curve_that_is_missing() -> None:
    found = faithful(made({"deletion gain": 0.1, "insertion gain": nan}), "map")
    assert found.because == "Not tested: no insertion was measured."
    assert (
        "5 episodes measured, 6 or more"
        in faithful(made({"deletion gain": 0.1, "insertion gain": 0.1}, episodes=5), "map").because
    )
