"""Gradients of policies that have no action tokens, or read positions beside embeddings: as finite differences say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import models
from models.policy import ActionDifferentiable, Differentiable, Placing
from tests.contracts.policy_cases import CASES, observation_for


def directional(value: object, at: torch.Tensor) -> tuple[float, float]:
    """The slope along the gradient itself: as autograd and as a central difference have it."""
    leaf = at.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(value(leaf), leaf)  # type: ignore[operator]
    along = slope / slope.norm()
    step = 0.002 * at.norm() / along.norm() / np.sqrt(at.shape[1])
    with torch.no_grad():
        ahead, behind = (float(value(at + sign * step * along)) for sign in (1, -1))  # type: ignore[operator]
    return float(slope.norm()), (ahead - behind) / float(2 * step)


@pytest.mark.parametrize("case", ["OpenVLA-OFT", "SmolVLA", "LeRobot pi0"])
def test_a_number_of_a_continuous_chunk(case: str, tmp_path: Path) -> None:
    family, write = CASES[case]
    policy = models.load(write(tmp_path / "one"), family=family)
    assert isinstance(policy, ActionDifferentiable) and not isinstance(policy, Differentiable)
    seen = observation_for(policy.info)
    said = policy.predict(seen)
    with torch.no_grad():
        embedded = policy.embed(seen)
        np.testing.assert_allclose(policy.chunk_from(seen, embedded).numpy(), said.actions, rtol=1e-4, atol=1e-5)
    assert embedded.shape[1] <= len(policy.layout(seen).tokens)
    exact, measured = directional(lambda each: policy.chunk_from(seen, each)[1, 2], embedded)
    assert exact > 0
    assert measured == pytest.approx(exact, rel=0.02)


def test_words_of_a_model_that_reads_positions_on_a_grid(tmp_path: Path) -> None:
    family, write = CASES["VLM, qwen2 vl"]
    policy = models.load(write(tmp_path / "one"), family=family)
    assert isinstance(policy, Placing) and not isinstance(policy, Differentiable)
    seen = observation_for(policy.info)
    said = policy.predict(seen)
    placed, tokens = policy.placed(seen), said.tokens.tolist()
    with torch.no_grad():
        embedded = placed.embed(seen)
        told = placed.log_probabilities(embedded, tokens)[range(len(tokens)), tokens]
    assert embedded.shape[1] == len(policy.layout(seen).tokens)
    np.testing.assert_allclose(told.numpy(), said.token_logprobs, atol=1e-4)
    exact, measured = directional(lambda each: placed.log_probabilities(each, tokens)[2, tokens[2]], embedded)
    assert measured == pytest.approx(exact, rel=0.02)
    with pytest.raises(ValueError, match="is read by the grid of one of"):
        placed.log_probabilities(embedded[:, :-1], tokens)
