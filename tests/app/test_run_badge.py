"""The badge of a map in the player says what was tested, with n, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.attribution.target import Target
from analysis.evidence.maps import MEAN_ATTENTION
from analysis.evidence.measurements import measure
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.tested import badge_of
from analysis.records import RecordStore
from app.tested_badges import TestedBadges
from models.planted import Planted
from tests.analysis.evidence.planted_episodes import subjects

WHOLE = Target(scalar="action")


def test_a_badge_is_passed_failed_or_not_tested_and_says_why(tmp_path: Path) -> None:
    records, own = RecordStore(tmp_path), subjects(6)
    probe = FaithfulnessProbe(strides=3, orders=2, masks=20)
    true, lying = Planted("patch"), Planted("patch", lies=True)
    measure(true, own, [probe], records, 1)
    measure(lying, own, [probe, replace(probe, method="occlusion", method_settings='{"size": 1}')], records, 1)
    badges = TestedBadges()
    passed, failed = (badges.mean_attention(records, policy.info) for policy in (true, lying))
    assert (passed["state"], failed["state"]) == ("passed", "failed")
    assert "6 episodes, 6 steps" in passed["why"]
    asked = {"size": 1, "stride": 1}
    assert badges.of(records, lying.info, "occlusion", asked, WHOLE)["state"] == "passed"
    other = badges.of(records, lying.info, "occlusion", {"size": 2}, WHOLE)
    assert other["state"] == "not tested"
    assert "6 steps were tested with others" in other["why"]
    part = badges.of(records, lying.info, "occlusion", asked, Target(action="reach", scalar="action"))
    assert part["state"] == "not tested"
    assert "not of a single part" in part["why"]
    nothing = badge_of(records, Planted("word").info, MEAN_ATTENTION)
    assert nothing.badge.value == "not tested"
    assert "the Evidence page does" in nothing.because
