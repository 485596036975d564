"""Layers read one by one: the last one is the policy's own answer, in every family that can be read."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import models
from models.policy import LayerReadable, Policy
from models.reinitialised import reinitialised
from tests.contracts.policy_cases import CASES, observation_for

CHOSEN = ("rationale", "OpenVLA")
SLOW = ("gemma 2", "ECoT", "spatial, two depth heads", "spatial with words")


@pytest.fixture(scope="module", params=[*CHOSEN, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    family, write = CASES[request.param]
    return models.load(write(tmp_path_factory.mktemp("checkpoint") / "one"), family=family)


@pytest.mark.slow
def test_the_last_layer_says_what_the_policy_says(policy: Policy) -> None:
    assert isinstance(policy, LayerReadable)
    seen = observation_for(policy.info)
    said = policy.predict(seen)
    lens = policy.action_lens(seen, said)
    assert len(lens) == policy.info.layers
    for told, own in zip(lens[-1], said.action_distribution, strict=True):
        assert (told.token, told.name) == (own.token, own.name)
        np.testing.assert_allclose(told.probabilities, own.probabilities, atol=1e-4)
        assert told.mass == pytest.approx(own.mass, abs=1e-4)
    assert any(not np.allclose(a.probabilities, b.probabilities) for a, b in zip(lens[0], lens[-1], strict=True))


def test_states_cover_the_prompt_and_what_was_said(policy: Policy) -> None:
    assert isinstance(policy, LayerReadable)
    seen = observation_for(policy.info)
    prompt = len(policy.layout(seen).tokens)
    states = policy.layer_states(seen)
    assert states.shape[:2] == (policy.info.layers, prompt)
    assert policy.layer_states(seen, [1, 2]).shape[1] == prompt + 2
    np.testing.assert_allclose(policy.layer_states(seen, [1, 2])[:, :prompt], states, atol=1e-4)


def test_two_threads_read_their_own_layers(policy: Policy) -> None:
    assert isinstance(policy, LayerReadable)
    seen = [observation_for(policy.info, index) for index in (1, 2)]
    alone = [policy.layer_states(each) for each in seen]
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def read(index: int) -> None:
        found[index] = [policy.layer_states(seen[index]) for _ in range(4)]  # type: ignore[attr-defined]

    threads = [threading.Thread(target=read, args=(index,)) for index in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, states in found.items():
        assert len(states) == 4
        for each in states:
            np.testing.assert_allclose(each, alone[index], atol=1e-5)


@pytest.mark.slow
def test_new_weights_answer_otherwise_and_leave_the_old_ones_alone(policy: Policy) -> None:
    seen = observation_for(policy.info)
    before = policy.predict(seen)
    one, again = reinitialised(policy, 1), reinitialised(policy, 1)
    said = one.predict(seen)
    np.testing.assert_array_equal(said.tokens, again.predict(seen).tokens)
    assert said.token_logprobs[:1] != pytest.approx(before.token_logprobs[:1], abs=1e-4)
    np.testing.assert_array_equal(policy.predict(seen).token_logprobs, before.token_logprobs)
