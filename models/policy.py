"""What a policy can be asked. Capabilities are protocols, not flags: ``isinstance(policy, Differentiable)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from models.types import (
    ActionBins,
    ActionDistribution,
    Capture,
    CheckpointSpec,
    Observation,
    Prediction,
    Rationale,
    TokenLayout,
)

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Policy(Protocol):
    """Observation and instruction to actions. Safe to call from several threads at once."""

    @property
    def info(self) -> CheckpointSpec: ...

    def layout(self, observation: Observation) -> TokenLayout:
        """What the policy reads, token by token, without running it."""
        ...

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        """Run once, greedily. ``capture`` keeps attention rows and never changes the prediction.

        ``force`` makes the policy say this rationale instead of its own; actions then follow from it.
        Raises UserError for an observation that the policy cannot read.
        """
        ...


@runtime_checkable
class Differentiable(Policy, Protocol):
    """A policy whose answer can be differentiated with respect to what it reads."""

    def embed(self, observation: Observation) -> torch.Tensor:
        """What the language tower reads, images merged in: shape [1, P, width] for the P positions of the layout."""
        ...

    def log_probabilities(self, embedded: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Teacher-forced log-probabilities [N, V] of every next token, after ``embedded`` and the tokens before it.

        Row ``n`` is the distribution that token ``n`` was taken from, natural logarithm, full vocabulary.
        """
        ...


@runtime_checkable
class Placing(Policy, Protocol):
    """A policy whose embeddings alone do not tell how its prompt is read: positions on an image's grid, say."""

    def placed(self, observation: Observation) -> Differentiable:
        """The same policy, bound to the prompt of ``observation``: every prompt it is given is read as that one is."""
        ...


@runtime_checkable
class ActionDifferentiable(Policy, Protocol):
    """A policy of continuous actions that can be differentiated with respect to what it reads."""

    def embed(self, observation: Observation) -> torch.Tensor:
        """What the language tower reads, images merged in: shape [1, P, width], the first P positions of the layout."""
        ...

    def chunk_from(self, observation: Observation, embedded: torch.Tensor) -> torch.Tensor:
        """The chunk [T, D] in robot units that follows from ``embedded``; what else is read is ``observation``'s.

        A policy that denoises starts from the noise of `predict`, and the gradient goes through all its steps.
        """
        ...


@runtime_checkable
class BatchScoring(Differentiable, Protocol):
    """A Differentiable policy that scores a given answer for many changed inputs at once, without generating."""

    def embed_all(self, observations: Sequence[Observation]) -> list[torch.Tensor]:
        """As `embed` of each, [P, width]; vision towers run on several images at once, on an equal one only once."""
        ...

    def embed_words(self, tokens: Sequence[int]) -> torch.Tensor:
        """Generated ids as the language model reads them back: [1, N, width]."""
        ...

    def batch_log_probabilities(self, embedded: torch.Tensor, said: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Log-probabilities [B, R, V] of next tokens after ``embedded`` [B, P, width] and ``said`` [B or 1, N, width].

        Row ``r`` is the distribution that the token after the first ``rows[r]`` said ones is taken from (ascending).
        Where every position looks back only and no gradient is wanted, leading positions that all samples share are
        read once.
        """
        ...

    def score_all(
        self, observations: Sequence[Observation], tokens: Sequence[int], rows: Sequence[int]
    ) -> Float[np.ndarray, "B R V"]:
        """The same for observations, teacher-forced with ``tokens``, without gradients; prompts may differ in length.

        The caller chooses how many observations fit into memory at once: see `batch_limit`.
        """
        ...

    def batch_limit(self, positions: int, rows: int) -> int:
        """How many samples of ``positions`` positions and ``rows`` wanted rows take a quarter of the free memory."""
        ...


@runtime_checkable
class LayerReadable(Policy, Protocol):
    """A policy with action tokens whose decoder layers can be read one by one."""

    def layer_states(self, observation: Observation, tokens: Sequence[int] = ()) -> Float[np.ndarray, "L P width"]:
        """The residual stream after every layer, at every position of the prompt, then of ``tokens`` as if said."""
        ...

    def action_lens(
        self, observation: Observation, prediction: Prediction
    ) -> tuple[tuple[ActionDistribution, ...], ...]:
        """For every layer what ``prediction.action_distribution`` would be if it were the last one.

        The logit lens: final norm and head on the layer's state, restricted to the bins. The last layer's is the
        policy's own.
        """
        ...


@runtime_checkable
class ActionTokens(Policy, Protocol):
    """A policy whose actions are tokens, each standing for values."""

    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]:
        """Which ids stand for which values, for every entry of ``prediction.action_distribution``, in its order."""
        ...


@runtime_checkable
class Knockable(Policy, Protocol):
    """A policy in whose attention single routes and heads can be knocked out."""

    def predict_without(
        self,
        observation: Observation,
        cuts: Sequence[Cut],
        capture: Capture | None = None,
        force: Rationale | str | None = None,
    ) -> Prediction:
        """What `predict` says with ``cuts`` made in the run itself; rows that are captured are those of that run.

        Raises UserError for a cut that the policy cannot make, or that met nothing in the run.
        """
        ...
