"""What the action reads, on policies of which that is known."""

from __future__ import annotations

import pytest

from analysis.evidence.moment import Moment
from analysis.evidence.probes.routes import RoutesProbe
from models.fakes import PlantedPolicy
from models.planted import Planted
from tests.analysis.evidence.planted_episodes import subjects

READ = {
    "patch": {"route image"},
    "word": {"route instruction"},
    "rationale word": {"route rationale", "route rationale:observation"},
    "nothing": set(),
}


@pytest.mark.parametrize("cause", READ)
def test_cutting_what_is_read_moves_the_action_and_nothing_else_does(cause: str) -> None:
    (subject,) = subjects(1)
    policy = Planted(cause, lies=True)  # type: ignore[arg-type]
    found = RoutesProbe()(Moment(policy, subject.episode, subject.episode.step(2), subject.cameras))
    assert {name for name, value in found.items() if value > 0} == READ[cause]
    assert set(found) >= {"route rationale:planning", "route image", "route instruction"}


def test_a_policy_without_an_attention_to_cut_says_so() -> None:
    assert "cannot be cut" not in str(RoutesProbe().why_not(Planted("word")))
    assert (
        RoutesProbe().why_not(PlantedPolicy()) == "planted does not run through an attention function that can be cut"
    )
