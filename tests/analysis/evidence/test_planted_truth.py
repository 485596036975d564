"""Verdicts and badges on policies whose truth is known by construction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.evidence.asked_map import ISS, MEAN, AskedMap
from analysis.evidence.faithful import Badge, faithful
from analysis.evidence.measurements import Measurements, measure
from analysis.evidence.probe import Probe, probe
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.probes.significance import SignificanceProbe
from analysis.evidence.verdict import Word
from analysis.evidence.verdicts import grounded, instruction_used, reasoning_used
from analysis.records import RecordStore
from models.planted import Planted
from tests.analysis.evidence.planted_episodes import subjects

pytestmark = pytest.mark.slow  # together more than make check has time for

CURVES = FaithfulnessProbe(strides=4, orders=2, masks=20)
SIGNIFICANCE = SignificanceProbe(masks=20)


def measured(policy: Planted, folder: Path, *probes: Probe | str, episodes: int = 6, steps: int = 1) -> Measurements:
    asked = [probe(each) if isinstance(each, str) else each for each in probes]
    return measure(policy, subjects(episodes), asked, RecordStore(folder / "records"), steps)


@pytest.mark.parametrize(
    ("cause", "instruction", "rationale"),
    [
        ("patch", "not used", "decorative"),
        ("word", "used", "decorative"),
        ("rationale word", "not used", "used"),
        ("nothing", "not used", "decorative"),
    ],
)
@pytest.mark.parametrize("lies", [False, True])
def test_what_is_used_is_found_whatever_attention_says(
    tmp_path: Path, cause: str, instruction: str, rationale: str, lies: bool
) -> None:
    found = measured(Planted(cause, lies=lies), tmp_path, "instruction", "rationale", steps=2)  # type: ignore[arg-type]
    assert instruction_used(found).says == instruction
    assert reasoning_used(found).says == rationale


LONG = " ".join(f"word{number}" for number in range(150))
SAID = (
    ("observation", f"i see the red cup {LONG}"),
    ("situation", f"nothing moved {LONG}"),
    ("planning", "then close"),
)


@pytest.mark.parametrize(
    ("word", "verdict"), [("close", "used"), ("red", "used"), ("see", "its words only"), ("then", "its words only")]
)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_word_that_decides_is_never_called_decorative(tmp_path: Path, word: str, verdict: str, steps: int) -> None:
    policy = Planted("rationale word", word=word, says=SAID)
    assert reasoning_used(measured(policy, tmp_path, "rationale", steps=steps)).says == verdict


@pytest.mark.parametrize("word", ["take", "the"])
def test_a_word_of_the_instruction_that_carries_no_object_is_found(tmp_path: Path, word: str) -> None:
    assert instruction_used(measured(Planted("word", word=word), tmp_path, "instruction")).says == "its form only"


def test_true_attention_passes_and_rests_on_the_cup(tmp_path: Path) -> None:
    found = measured(Planted("patch"), tmp_path, "attention", SIGNIFICANCE, CURVES)
    badge = faithful(found, MEAN.text)
    assert badge.badge is Badge.PASSED
    assert "6 episodes" in badge.because
    assert grounded(found, "attention").says == "above chance"
    assert grounded(found, "significance").says == "above chance"


def test_attention_that_lies_fails_while_iss_passes(tmp_path: Path) -> None:
    policy = Planted("patch", lies=True)
    found = measured(policy, tmp_path, "attention", SIGNIFICANCE, CURVES)
    assert faithful(found, MEAN.text).badge is Badge.FAILED
    assert grounded(found, "attention").says == "below chance"
    assert grounded(found, "significance").says == "above chance"
    assert faithful(measured(policy, tmp_path, replace(CURVES, map=AskedMap.of(ISS))), ISS).badge is Badge.PASSED


def test_a_map_that_new_weights_do_not_change_fails(tmp_path: Path) -> None:
    lie = Planted("patch", lies=True, lie=5)  # points at the right patch, but would whatever the weights were
    badge = faithful(measured(lie, tmp_path, CURVES), MEAN.text)
    assert [check.passed for check in badge.checks] == [True, True, False]
    assert badge.badge is Badge.FAILED


def test_no_map_passes_where_nothing_moves_the_action(tmp_path: Path) -> None:
    badge = faithful(measured(Planted("nothing"), tmp_path, CURVES), MEAN.text)
    assert badge.badge is Badge.FAILED
    assert "does not move the action" in badge.because


def test_too_few_is_an_answer(tmp_path: Path) -> None:
    found = measured(Planted("word"), tmp_path, "instruction", "rationale", "attention", CURVES, episodes=3)
    for verdict in (instruction_used(found), reasoning_used(found), grounded(found, "attention")):
        assert verdict.word is Word.TOO_FEW
        assert "3 episodes measured" in verdict.because
    assert faithful(found, MEAN.text).badge is Badge.NOT_TESTED


def test_steps_of_one_episode_make_a_verdict_about_it(tmp_path: Path) -> None:
    few = measured(Planted("word"), tmp_path, "instruction", episodes=1, steps=6)
    assert instruction_used(few).says == "too few steps"


def test_a_policy_without_words_has_no_reasoning_to_judge(tmp_path: Path) -> None:
    verdict = reasoning_used(measured(Planted("word", says=()), tmp_path, "rationale"))
    assert verdict.word is Word.DOES_NOT_APPLY
    assert "writes no rationale" in verdict.because
