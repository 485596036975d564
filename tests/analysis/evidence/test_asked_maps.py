"""The map that is tested is the map that is shown, and what is moved is what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.attention import TopK, maximum, one_head, top_k
from analysis.attention_map import image_map
from analysis.attribution.target import Target
from analysis.evidence.aim import Aim, aim_of_rows, aim_of_target, target_of
from analysis.evidence.asked_map import AskedMap
from analysis.evidence.describe import maps_text, maps_values
from analysis.evidence.effect import image_effects
from analysis.evidence.judged_maps import judge_maps
from analysis.evidence.maps import patches_of
from analysis.evidence.moment import Moment
from analysis.evidence.probes.faithfulness import FaithfulnessProbe, _twin
from analysis.records import RecordStore
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.planted import NAMES, Planted
from models.policy import Policy
from models.types import Observation
from tests.analysis.evidence.planted_episodes import subjects

QUICK = FaithfulnessProbe(strides=2, orders=1, masks=20)


def moment(policy: Policy) -> Moment:
    (own,) = subjects(1)
    return Moment(policy, own.episode, own.episode.step(2), own.cameras)


def test_maps_are_those_of_the_player() -> None:
    here = moment(Planted("patch"))
    (record,) = here.answer.attention
    acting = [row for row, token in enumerate(record.produced) if token >= len(here.answer.tokens) - len(NAMES)]
    expected = {
        "attention:reduce=head;layer=1;head=0": one_head(record, 1, 0)[acting].mean(axis=0),
        "attention:reduce=max;from=1": maximum(record, (1,))[acting].mean(axis=0),
        "attention:reduce=topk;k=3": top_k(record, TopK(k=3)).rows[acting].mean(axis=0),
    }
    for text, row in expected.items():
        found = patches_of(AskedMap.parse(text).fitted(here.policy.info), here)
        assert found is not None
        np.testing.assert_allclose(found.values, image_map(row, record.layout).ravel(), atol=1e-6)
        assert found.aim == Aim(frozenset((0, name) for name in NAMES))


def test_what_was_not_said_at_a_step_leaves_it_out() -> None:
    here = moment(Planted("patch"))
    assert patches_of(AskedMap.of(query="word.99"), here) is None
    assert patches_of(AskedMap.of("occlusion", query="rationale.task"), here) is None
    found = patches_of(AskedMap.of(query="word.3"), here)
    assert found is not None and found.aim == Aim(words=(3,))


def test_a_query_names_what_a_person_asked() -> None:
    said = moment(Planted("patch")).answer
    actions = len(said.tokens) - len(NAMES)
    assert target_of(said, "action") == Target(scalar="action")
    assert target_of(said, "action.grip") == Target(action="grip", scalar="action")
    assert target_of(said, "action.step 0 grip", "log-probability") == Target(action="grip")
    assert target_of(said, "word.2") == Target((2,))
    assert target_of(said, "rationale").tokens == tuple(range(10))
    assert aim_of_target(said, Target(action="grip", scalar="action")) == Aim(frozenset({(0, "grip")}))
    assert aim_of_rows(said, [actions]) == Aim(frozenset({(0, NAMES[0])}))
    for query in ("word.x", "word.99", "glance"):
        with pytest.raises(UserError):
            target_of(said, query)


def test_rows_of_a_chunk_are_about_their_own_step() -> None:
    policy, frame = PlantedChunkPolicy(), np.full((64, 64, 3), 30, np.uint8)
    said = policy.predict(Observation(dict.fromkeys(policy.info.cameras, frame), "lift", np.zeros(1)))
    names = said.action_names
    assert aim_of_rows(said, [1]) == Aim(frozenset((1, name) for name in names))
    assert aim_of_target(said, Target(action=names[0], step=1, scalar="action")) == Aim(frozenset({(1, names[0])}))


def test_only_what_is_meant_is_looked_at() -> None:
    """The two dimensions of the planted policy are equal, so a change of one must be as large as of both."""
    here = moment(Planted("patch"))
    black = Observation({"front": np.zeros_like(here.observation.images["front"])}, here.observation.instruction)
    both, one = (
        image_effects(here.policy, here.observation, here.answer, [black], Aim(frozenset((0, n) for n in names)))
        for names in (NAMES, NAMES[:1])
    )
    assert both == pytest.approx(one) and both[0] > 0
    with pytest.raises(UserError, match="cannot be told what it said"):
        image_effects(here.policy, here.observation, here.answer, [black], Aim(words=(2,)))


def test_several_maps_are_judged_together_and_what_cannot_be_made_is_refused_first(tmp_path: Path) -> None:
    policy, own = Planted("patch", lies=True), subjects(1)
    maps = [AskedMap.parse("attention"), AskedMap.parse("attention:reduce=max"), AskedMap.parse("attention:to=1")]
    found = judge_maps(policy, own, maps, RecordStore(tmp_path), 1, test=QUICK)
    assert len(found.maps) == 2  # the last layer is the last, however it is named
    ((_, _, number),) = found.agreement
    assert number.estimate.value == pytest.approx(1.0)  # its heads are all the same
    assert [each.badge.value for each in found.found] == ["not tested"] * 2
    text, values = maps_text(policy.info, found), maps_values(policy.info, found)
    assert "attention:reduce=max, about action: not tested" in text and "Rank agreement" in text
    assert values["maps"][0]["query"] == "action" and values["agreement"][0]["n"] == 1
    with pytest.raises(UserError, match="rollout cannot pass through"):
        judge_maps(PlantedChunkPolicy(), [], [AskedMap.parse("attention:reduce=rollout")], RecordStore(tmp_path), 1)


def test_every_seed_has_a_copy_of_its_own() -> None:
    class Randomisable:
        def randomised(self, seed: int) -> tuple[str, int]:
            made.append(seed)
            return ("copy", seed)

    made: list[int] = []
    policy: Any = Randomisable()
    assert [_twin(policy, seed) for seed in (1, 1, 2, 2)] == [("copy", 1), ("copy", 1), ("copy", 2), ("copy", 2)]
    assert made == [1, 2]
