"""The ReFineVLA objective: L = L_action + lambda * L_reasoning, both teacher-forced token negative log-likelihoods.

Source: ReFineVLA (arXiv 2505.19080), equation of the joint objective; the best lambda reported there is 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.errors import UserError


@dataclass(frozen=True)
class JointLoss:
    """Scalars; ``action`` and ``reasoning`` are means over their own tokens, in nats."""

    total: Tensor
    action: Tensor
    reasoning: Tensor


def joint_loss(
    logits: Float[Tensor, "B S V"],
    targets: Int[Tensor, "B S"],
    is_action: Bool[Tensor, "B S"],
    is_reasoning: Bool[Tensor, "B S"],
    weight: float,
    action_targets: Float[Tensor, "n V"] | None = None,
) -> JointLoss:
    """The joint loss of one batch.

    Args:
        logits: scores of the token that follows each position.
        targets: that token; read only where one of the two masks is true.
        is_action, is_reasoning: which positions count for which part; no position may count for both.
        weight: lambda, at least 0.
        action_targets: soft labels of the n action positions in row-major order (each row sums to one) in place of
            ``targets``; neighbouring bins of a number are nearly as right as the bin itself.

    Raises:
        UserError: lambda is negative.
    """
    if weight < 0:
        raise UserError(f"the weight of the reasoning loss (lambda) is {weight}; it must be 0 or more")
    logs = torch.log_softmax(logits.float(), dim=-1)
    action = _mean_nll(logs[is_action], targets[is_action] if action_targets is None else action_targets)
    reasoning = _mean_nll(logs[is_reasoning], targets[is_reasoning])
    return JointLoss(action + weight * reasoning, action, reasoning)


def _mean_nll(logs: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows; zero, with a gradient path, where there is no row."""
    if len(logs) == 0:
        return logs.sum()
    if targets.dtype.is_floating_point:
        return -(targets * logs).sum(-1).mean()
    return -logs.gather(-1, targets[:, None]).mean()
