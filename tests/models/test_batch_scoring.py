"""Many changed inputs at once against one at a time, and teacher forcing against the run itself, over all families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import models
from models.policy import ActionTokens, BatchScoring, Differentiable
from models.teacher_forcing import TeacherForcing
from models.types import Observation
from tests.contracts.policy_cases import CASES, observation_for

CHOSEN = ("rationale", "OpenVLA", "VLM, llava")
SLOW = (
    "action first",
    "gemma 2",
    "ECoT",
    "spatial, two depth heads",
    "spatial with words",
    "VLM, paligemma",
    "VLM, idefics3",
)


@pytest.fixture(scope="module", params=[*CHOSEN, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> models.policy.Policy:
    family, write = CASES[request.param]
    return models.load(write(tmp_path_factory.mktemp("checkpoint") / "one"), family=family)


def changed(policy: models.policy.Policy) -> list[Observation]:
    """The same frame with three instructions, of two lengths, and another frame."""
    one = observation_for(policy.info)
    words = [one.instruction, "put the spoon on the plate", "move up"]
    return [*(replace(one, instruction=each) for each in words), observation_for(policy.info, 3)]


@pytest.mark.slow
def test_a_batch_scores_as_each_alone(policy: models.policy.Policy) -> None:
    assert isinstance(policy, BatchScoring)
    asked = changed(policy)
    tokens = policy.predict(asked[0]).tokens.tolist()
    rows = sorted({0, len(tokens) // 2, len(tokens) - 1})
    together = policy.score_all(asked, tokens, rows)
    with torch.inference_mode():
        alone = [policy.log_probabilities(policy.embed(each), tokens)[rows].cpu().numpy() for each in asked]
    np.testing.assert_allclose(together, np.stack(alone), atol=2e-5)


@pytest.mark.slow
def test_what_it_said_has_the_log_probabilities_of_the_run(policy: models.policy.Policy) -> None:
    assert isinstance(policy, BatchScoring)
    seen = observation_for(policy.info)
    said = policy.predict(seen)
    rows = range(len(said.tokens))
    scores = policy.score_all([seen, seen], said.tokens.tolist(), rows)[1]
    np.testing.assert_allclose(scores[rows, said.tokens], said.token_logprobs, atol=1e-4)


def test_bins_of_an_action_token_are_those_of_its_distribution(policy: models.policy.Policy) -> None:
    if policy.info.action_space is None:
        assert not isinstance(policy, ActionTokens)
        return
    assert isinstance(policy, ActionTokens) and isinstance(policy, Differentiable)
    seen = observation_for(policy.info)
    said = policy.predict(seen)
    found = policy.action_bins(said)
    with torch.inference_mode():
        logprobs = policy.log_probabilities(policy.embed(seen), said.tokens.tolist()).double().numpy()
    assert len(found) == len(said.action_distribution) > 0
    for bins, told in zip(found, said.action_distribution, strict=True):
        assert (bins.token, bins.step, bins.name) == (told.token, told.step, told.name)
        chances = np.exp(logprobs[bins.token, bins.ids])
        width = np.diff(told.values).max()  # a spherical grid's values are told in cells
        expected = (chances * bins.values).sum() / chances.sum()
        assert expected == pytest.approx((told.probabilities * told.values).sum(), abs=width / 2 + 1e-5)
        if said.tokens[bins.token] not in bins.ids:  # free decoding may say what is no action of this kind
            continue
        chosen = bins.values[list(bins.ids).index(said.tokens[bins.token])]
        assert chosen == pytest.approx(said.actions[bins.step][said.action_names.index(bins.name)])


def test_a_prefix_that_causal_samples_share_is_read_once(policy: models.policy.Policy) -> None:
    assert isinstance(policy, TeacherForcing)
    one = observation_for(policy.info)
    asked = [one, replace(one, instruction="put the spoon on the plate")]
    with torch.inference_mode():
        embedded = torch.stack([each[:40] for each in policy.embed_all(asked)])
        causal = policy._causal_config() is not None
        assert (policy._shared(embedded, embedded.shape[1] - 1) > 0) == causal
    assert policy._shared(embedded.clone(), embedded.shape[1] - 1) == 0, "a gradient flows through the whole sequence"
