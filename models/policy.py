"""What a policy can be asked. Capabilities are protocols, not flags: ``isinstance(policy, Differentiable)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from models.types import Capture, CheckpointSpec, Observation, Prediction, Rationale, TokenLayout

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
