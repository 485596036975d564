"""The layers of a policy's language model, as modules."""

from __future__ import annotations

from torch import nn

from models.errors import UserError
from models.policy import Policy


def decoder_layers(policy: Policy) -> tuple[nn.Module, ...]:
    """The decoder's layers from the bottom up. Raises UserError for a policy that has none that can be found."""
    model = getattr(policy, "model", None)
    found = [each for each in model.modules() if type(each).__name__.endswith("DecoderLayer")] if model else []
    if len(found) != policy.info.layers:
        raise UserError(f"{policy.info.name} has {policy.info.layers} layers, of which {len(found)} can be reached")
    return tuple(found)
