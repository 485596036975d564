"""What every attribution method promises, over every registered one and policies of several families."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import models
from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.method import AttributionMethod
from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import choices, settings_of, with_settings
from analysis.attribution.target import Target
from analysis.cancelled import Cancelled
from models.errors import UserError
from models.fake_chunk import PlantedChunkPolicy
from models.fakes import PlantedPolicy
from models.policy import ActionDifferentiable, Differentiable, Placing, Policy
from models.types import Observation, Part, Prediction
from tests.contracts.policy_cases import CASES, observation_for

FAKES = {"fake": PlantedPolicy, "fake chunk": PlantedChunkPolicy}
QUICK = ("rationale",)
SLOW = ("gemma 2", "OpenVLA", "ECoT", "OpenVLA-OFT", "spatial, two depth heads", "spatial with words", "SmolVLA")
SLOW += ("LeRobot pi0", "VLM, llava", "VLM, idefics3", "VLM, qwen2 vl")
# Of each way of working one: rows that were captured, gradients through attention, embeddings, layers, and many inputs.
AT_ONCE = ("attention-mean", "relevancy", "integrated-gradients", "layer-gradient", "occlusion")
SMALL = {  # settings that keep the runs few
    "iss": {"masks": 12, "side": 2, "hidden": 0.5},
    "shapley": {"side": 2, "orders": 2},
    "ablation": {"over": "regions", "side": 2},
    "occlusion": {"size": 4, "stride": 4},
    "integrated-gradients": {"steps": 4},
    "attention-top-k": {"k": 2},
}


class Case:
    def __init__(self, policy: Policy):
        self.policy = policy
        self.seen: Observation = observation_for(policy.info)
        self.said: Prediction = policy.predict(self.seen)
        names, start = self.said.action_names, len(self.said.layout.tokens) - len(self.said.tokens)
        self.target = Target(action=names[0], scalar="action") if names else Target(tokens=(self.first_word(start),))
        self.found: dict[str, tuple[AttributionMap, list[tuple[int, int]]]] = {}

    def first_word(self, start: int) -> int:
        return int(self.said.layout.positions(Part.RATIONALE)[0]) - start

    def __call__(self, method: AttributionMethod) -> AttributionMap:
        """Explained once, with its progress on the side."""
        if (reason := method.why_not(self.policy)) is not None:
            pytest.skip(reason)
        if method.name not in self.found:
            told: list[tuple[int, int]] = []
            made = method(
                self.policy,
                self.seen,
                self.target,
                prediction=self.said,
                progress=lambda done, total: told.append((done, total)),
            )
            self.found[method.name] = (made, told)
        return self.found[method.name][0]


@pytest.fixture(scope="module", params=[*FAKES, *QUICK, *(pytest.param(c, marks=pytest.mark.slow) for c in SLOW)])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param in FAKES:
        return Case(FAKES[request.param]())
    family, write = CASES[request.param]
    return Case(models.load(write(tmp_path_factory.mktemp("checkpoint") / "one"), family=family))


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> AttributionMethod:
    return with_settings(method_class(request.param), SMALL.get(request.param, {}))


def test_is_a_method_under_its_name_with_settings_that_come_back(method: AttributionMethod) -> None:
    assert isinstance(method, AttributionMethod)
    assert METHODS[method.name].endswith(f":{type(method).__name__}")
    assert method.title
    stored = json.loads(json.dumps(settings_of(method)))
    assert with_settings(type(method), stored) == method
    assert all(choice.help for choice in choices(type(method)))


def test_greyed_out_only_with_a_reason(case: Case, method: AttributionMethod) -> None:
    reason = method.why_not(case.policy)
    needs_gradients = "gradient" in method.name or method.name in ("relevancy", "saliency")
    if reason is None:
        assert isinstance(case.policy, Differentiable | ActionDifferentiable | Placing) or not needs_gradients
        return
    assert 10 < len(reason) < 200 and "\n" not in reason
    assert needs_gradients or (method.name == "attention-rollout" and case.policy.info.denoising_steps > 0)
    with pytest.raises(UserError):
        method(case.policy, case.seen, case.target, prediction=case.said)


def test_scores_every_position_with_finite_numbers(case: Case, method: AttributionMethod) -> None:
    found = case(method)
    assert found.layout == case.said.layout
    assert found.scores.shape == (len(case.said.layout.tokens),)
    assert np.isfinite(found.scores).all()
    assert found.signed or (found.scores >= 0).all()
    assert found.standard_error is None or (found.standard_error >= 0).all()
    assert found.method == method.name and found.target == case.target
    own = settings_of(method)
    assert {name: found.settings[name] for name in own if own[name] is not None} == {
        name: value for name, value in own.items() if value is not None
    }
    json.dumps([dict(found.settings), dict(found.notes)], allow_nan=False)


def test_nothing_written_after_the_target_has_a_part_in_it(case: Case, method: AttributionMethod) -> None:
    found = case(method)
    if len(case.said.tokens) and case.target.action is not None:
        first = next(e.token for e in case.said.action_distribution if e.name == case.target.action)
        start = len(case.said.layout.tokens) - len(case.said.tokens)
        assert not found.scores[start + first :].any()


def test_tells_its_progress_and_stops_when_asked(case: Case, method: AttributionMethod) -> None:
    found, told = case(method), case.found[method.name][1]
    if found.forwards:
        assert told and told[-1][0] == told[-1][1]
        assert [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(Cancelled):
        method(case.policy, case.seen, case.target, prediction=case.said, cancelled=lambda: True)


@pytest.mark.slow
@pytest.mark.parametrize("method", AT_ONCE, indirect=True)
def test_two_threads_explain_at_once(case: Case, method: AttributionMethod) -> None:
    expected = case(method)
    other = observation_for(case.policy.info, 5)
    start = Barrier(2)

    def run(seen: Observation) -> AttributionMap:
        start.wait()
        return method(case.policy, seen, case.target)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(run, (case.seen, other))
    # Forced words are read in one forward, generated ones in several: the last bits differ.
    np.testing.assert_allclose(one.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(two.scores, method(case.policy, other, case.target).scores)
