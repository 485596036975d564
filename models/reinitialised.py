"""A copy of a policy with new weights: an explanation of the old ones must not fit it (Adebayo 2018, 1810.03292)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from models.errors import UserError
from models.policy import Policy

MOST_PARAMETERS = 1_000_000_000  # a copy takes as much memory again


def reinitialised(policy: Policy, seed: int) -> Policy:
    """Every weight matrix drawn anew with the mean and deviation that it had; norms and biases stay.

    A policy that knows how to randomise itself (``randomised(seed)``) is asked to. Raises UserError for one without a
    network, or one that is too large to copy.
    """
    own = getattr(policy, "randomised", None)
    if own is not None:
        made: Policy = own(seed)
        return made
    if policy.info.parameters > MOST_PARAMETERS:
        raise UserError(
            f"{policy.info.name} has {policy.info.parameters / 1e9:.1f} billion parameters; weights are drawn anew in "
            f"a copy, and none is made above {MOST_PARAMETERS / 1e9:.0f} billion"
        )
    if not isinstance(getattr(policy, "model", None), nn.Module):
        raise UserError(f"{policy.info.name} has no network of its own whose weights could be drawn anew")
    twin: Any = copy.deepcopy(policy)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in twin.model.parameters():
            if weight.dim() >= 2:
                held = weight.float()
                noise = torch.randn(weight.shape, generator=draw)
                weight.copy_((noise.to(weight.device) * held.std() + held.mean()).to(weight.dtype))
    found: Policy = twin
    return found
