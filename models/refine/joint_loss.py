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
    counts: tuple[Tensor | float, Tensor | float] | None = None,
) -> JointLoss:
    """The joint loss of one batch.

    Args:
        logits: scores of the token that follows each position.
        targets: that token; read only where one of the two masks is true.
        is_action, is_reasoning: which positions count for which part; no position may count for both.
        weight: lambda, at least 0.
        action_targets: soft labels of the n action positions in row-major order (each row sums to one) in place of
            ``targets``; neighbouring bins of a number are nearly as right as the bin itself.
        counts: action and reasoning tokens to divide the sums by in place of this batch's own, where it is a part of
            a larger one (several processes, accumulated gradients): the parts' losses then add up to the whole's.

    Raises:
        UserError: lambda is negative.
    """
    if weight < 0:
        raise UserError(f"the weight of the reasoning loss (lambda) is {weight}; it must be 0 or more")
    logs = torch.log_softmax(logits.float(), dim=-1)
    acts, words = counts if counts is not None else (None, None)
    action = _mean_nll(logs[is_action], targets[is_action] if action_targets is None else action_targets, acts)
    reasoning = _mean_nll(logs[is_reasoning], targets[is_reasoning], words)
    return JointLoss(action + weight * reasoning, action, reasoning)


def _mean_nll(logs: Tensor, targets: Tensor, count: Tensor | float | None) -> Tensor:
    """Mean over rows; zero, with a gradient path, where there is no row."""
    if len(logs) == 0:
        return logs.sum()
    soft = targets.dtype.is_floating_point
    total = -(targets * logs).sum() if soft else -logs.gather(-1, targets[:, None]).sum()
    return total / (len(logs) if count is None else count)
