"""The badge of a map says what was tested of exactly this map, with n, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.evidence.asked_map import MEAN, AskedMap
from analysis.evidence.drawn import DrawnBoxes, KeyBox
from analysis.evidence.faithful import Faithfulness
from analysis.evidence.measurements import Subject, write_values
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.tested import badge_of, map_tests
from analysis.records import RecordStore, Setting
from models.errors import UserError
from models.planted import Planted
from tests.analysis.evidence.planted_episodes import subjects

PROBE = FaithfulnessProbe(map=MEAN.fitted(Planted("patch").info))
HEAD = AskedMap.of("attention", {"reduce": "head", "layer": 1, "head": 0})
GOOD = {"deletion gain": 0.2, "insertion gain": 0.1, "randomised spearman": 0.1}
BAD = GOOD | {"insertion gain": -0.1}


def pretend(
    records: RecordStore,
    policy: Planted,
    own: Sequence[Subject],
    steps: int,
    values: dict[str, float],
    probe: FaithfulnessProbe = PROBE,
    opened_as: dict[str, Setting] | None = None,
) -> None:
    """As if a map had been tested on these, a little differently each time."""
    for number, each in enumerate(own):
        key = replace(each, opened_as=opened_as).key(policy.info.digest, probe)
        for step in range(steps):
            write_values(records, key, step, {name: value + (number + step) / 1000 for name, value in values.items()})


def badge(records: RecordStore, policy: Planted, own: Subject, map: AskedMap) -> Faithfulness:
    fitted = map.fitted(policy.info)
    key = own.key(policy.info.digest, replace(PROBE, map=fitted))
    return badge_of(policy.info, fitted, key, map_tests(records, policy.info.digest))


@pytest.mark.slow
def test_a_badge_is_passed_failed_or_not_tested_and_says_why(tmp_path: Path) -> None:
    records, own = RecordStore(tmp_path), subjects(6)
    true, lying = Planted("patch"), Planted("patch", lies=True)
    pretend(records, true, own, 1, GOOD)
    pretend(records, lying, own, 1, BAD)
    pretend(records, lying, own, 1, GOOD, replace(PROBE, map=HEAD.fitted(true.info)))
    passed, failed = (badge(records, policy, own[0], MEAN) for policy in (true, lying))
    assert (passed.badge, failed.badge) == ("passed", "failed")
    assert "6 episodes, 6 steps" in passed.because
    assert badge(records, lying, own[0], HEAD).badge == "passed"
    for map in (
        AskedMap.of("attention", {"reduce": "head", "layer": 1, "head": 1}),
        AskedMap.of(query="action.reach"),
        AskedMap.of("occlusion", {"size": "1"}),
    ):
        other = badge(records, lying, own[0], map)
        assert other.badge == "not tested"
        assert "12 steps measured of other maps" in other.because


def test_only_tests_with_the_same_settings_count_and_each_step_once(tmp_path: Path) -> None:
    records, policy, own = RecordStore(tmp_path), Planted("patch"), subjects(6)
    pretend(records, policy, own, 1, BAD, replace(PROBE, fill="black"))
    pretend(records, policy, own, 1, BAD, opened_as={"temperature": 1.0})
    assert badge(records, policy, own[0], MEAN).badge == "not tested"
    pretend(records, policy, own, 1, GOOD)
    boxes = DrawnBoxes((KeyBox("cup", "front", 0, (0.0, 0.0, 4.0, 4.0)),))
    seen_as = [replace(each, drawn=boxes) for each in own]
    pretend(records, policy, seen_as, 1, GOOD)
    found = badge(records, policy, own[0], MEAN)
    assert found.badge == "passed" and "6 episodes, 6 steps" in found.because


def test_one_episode_has_a_verdict_of_its_own_which_another_does_not_take_away(tmp_path: Path) -> None:
    records, policy = RecordStore(tmp_path), Planted("patch")
    first, second = subjects(2)
    pretend(records, policy, [first], 8, GOOD)
    pretend(records, policy, [second], 2, BAD)
    found, other = (badge(records, policy, each, MEAN) for each in (first, second))
    assert found.badge == "passed"
    assert "Tested on 8 steps" in found.because and "this episode alone" in found.because
    assert other.badge == "not tested"
    assert "2 steps of this episode and 8 of others" in other.because


def test_maps_have_one_form_however_they_are_written() -> None:
    info = Planted("patch").info
    assert AskedMap.parse("attention").fitted(info) == MEAN == AskedMap.of(settings={"from": 0, "to": 1}).fitted(info)
    assert AskedMap.parse("attention:reduce=mean;stream=language;denoise=0").fitted(info) == MEAN
    assert AskedMap.parse("iss") == AskedMap.of("iss", {"seed": 7, "masks": "128"})
    for text in ("attention:reduce=head;layer=1;head=0", "occlusion:size=1", "attention:reduce=topk;k=2"):
        assert AskedMap.parse(text).text == text
    assert AskedMap.of("attention-mean").scalar == "log-probability"  # it cannot explain how far an action moves
    assert AskedMap.of("attention-mean", query="action.reach").scalar == AskedMap.of("iss").scalar == "action"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("glance", "there is no map 'glance'"),
        ("attention:reduce=mean;head=1", "has no setting 'head'"),
        ("attention:reduce=least", "it can be head, mean"),
        ("attention:head", "write METHOD:name=value"),
        ("iss:masks=few", "masks is 'few'"),
    ],
)
def test_a_map_that_cannot_be_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        AskedMap.parse(text)
