"""Training sequences made of a prompt, a rationale and an action, in the order that the user chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.errors import UserError
from models.refine.settings import Order as Order


@dataclass(frozen=True)
class Example:
    """Token ids. ``action`` starts with the token that announces it."""

    prompt: Sequence[int]  # image placeholders, <bos>, instruction, state
    rationale: Sequence[int]  # part markers and words
    action: Sequence[int]

    def answer(self, order: Order) -> tuple[list[int], list[bool]]:
        """Ids to generate, and which of them are the rationale's."""
        words, moves = list(self.rationale), list(self.action)
        match order:
            case Order.REASON_FIRST:
                return words + moves, [True] * len(words) + [False] * len(moves)
            case Order.ACT_FIRST:
                return moves + words, [False] * len(moves) + [True] * len(words)
            case Order.ACT_ONLY:
                return moves, [False] * len(moves)


@dataclass(frozen=True)
class Batch:
    """Right-padded. Position s of targets and masks speaks of the token that follows position s of ``ids``."""

    ids: Tensor  # int64 [B, S]
    suffix: Tensor  # int64 [B, S]: token_type_ids, 0 over the prompt (bidirectional), 1 after it (causal)
    targets: Tensor  # int64 [B, S]
    is_action: Tensor  # bool [B, S]
    is_reasoning: Tensor  # bool [B, S]


def collate(examples: Sequence[Example], order: Order, pad: int) -> Batch:
    """One batch. Padding stands last: causal positions never look ahead at it, so no mask is needed.

    Raises:
        UserError: there is no example, or a rationale is wanted and empty.
    """
    if not examples:
        raise UserError("a batch needs at least one example, none was given")
    if order is not Order.ACT_ONLY and any(not example.rationale for example in examples):
        raise UserError(f"the order is {order.value!r} but an example has no rationale; annotate it first")
    answers = [example.answer(order) for example in examples]
    length = max(len(e.prompt) + len(ids) for e, (ids, _) in zip(examples, answers, strict=True))
    ids = np.full((len(examples), length), pad)
    suffix, targets = np.ones_like(ids), np.full_like(ids, pad)
    action, reasoning = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    for i, (example, (answer, words)) in enumerate(zip(examples, answers, strict=True)):
        start, stop = len(example.prompt), len(example.prompt) + len(answer)
        ids[i, :stop] = [*example.prompt, *answer]
        suffix[i, :start] = 0
        targets[i, start - 1 : stop - 1] = answer
        reasoning[i, start - 1 : stop - 1] = words
        action[i, start - 1 : stop - 1] = ~np.array(words, bool)
    return Batch(*(torch.from_numpy(array) for array in (ids, suffix, targets, action, reasoning)))
