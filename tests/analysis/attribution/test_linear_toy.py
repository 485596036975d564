"""Gradient methods on a policy that is linear in what it reads, by hand: every score is known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.attribution.input_gradient import InputGradient
from analysis.attribution.integrated_gradients import IntegratedGradients
from analysis.attribution.saliency import Saliency
from analysis.attribution.target import Target
from models.fakes import PlantedPolicy
from models.policy import BatchScoring, Differentiable
from models.types import Observation

WIDTH, VOCABULARY = 3, 16


class LinearPolicy(PlantedPolicy):
    """Differentiable alone: "log-probabilities" of token t are sum over positions k of W[t, k] . e_k. No batches."""

    @property
    def weights(self) -> Tensor:
        return torch.linspace(-1, 1, VOCABULARY * 9 * WIDTH).reshape(VOCABULARY, 9, WIDTH)

    def embed(self, observation: Observation) -> Tensor:
        count = len(self.layout(observation).tokens)
        return torch.arange(1, count * WIDTH + 1, dtype=torch.float32).reshape(1, count, WIDTH) / 10

    def log_probabilities(self, embedded: Tensor, tokens: Sequence[int]) -> Tensor:
        one = torch.einsum("tkw,kw->t", self.weights, embedded[0])
        return one.expand(len(tokens), -1)


POLICY = LinearPolicy()
SEEN = Observation({"image": np.full((4, 4, 3), 200, np.uint8)}, "lift the red cup")
WORD = Target(tokens=(1,))  # id 3 of the vocabulary


def test_is_differentiable_without_batches() -> None:
    assert isinstance(POLICY, Differentiable) and not isinstance(POLICY, BatchScoring)
    assert POLICY.predict(SEEN).tokens[1] == 3


def test_saliency_is_the_length_of_the_weights() -> None:
    found = Saliency()(POLICY, SEEN, WORD).scores
    np.testing.assert_allclose(found[:9], POLICY.weights[3].norm(dim=1).numpy(), rtol=1e-6)
    assert not found[9:].any()


def test_input_gradient_is_the_share_of_each_position() -> None:
    expected = (POLICY.weights[3] * POLICY.embed(SEEN)[0]).sum(dim=1).numpy()
    np.testing.assert_allclose(InputGradient()(POLICY, SEEN, WORD).scores[:9], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 50])
def test_integrated_gradients_of_a_line_are_exact_whatever_the_steps(steps: int) -> None:
    embedded, weights = POLICY.embed(SEEN)[0], POLICY.weights[3]
    found = IntegratedGradients(baseline="zero", steps=steps)(POLICY, SEEN, WORD)
    np.testing.assert_allclose(found.scores[:9], (weights * embedded).sum(dim=1).numpy(), rtol=1e-4, atol=1e-5)
    assert found.convergence_delta == pytest.approx(0, abs=1e-4)
    start = embedded.clone()
    start[:4] = embedded[:4].mean(dim=0)  # the image's mean on the image
    start[5:] = embedded[5:].mean(dim=0)  # the words' mean on words; <bos> keeps its own
    found = IntegratedGradients(steps=steps)(POLICY, SEEN, WORD)
    np.testing.assert_allclose(found.scores[:9], (weights * (embedded - start)).sum(dim=1).numpy(), atol=1e-5)
    assert found.notes["value"] - found.notes["value at the baseline"] == pytest.approx(found.scores.sum(), abs=1e-4)
