"""Soft labels of actions: cells beside the right one are nearly as right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ActionIds:
    """Ids of one kind of action token."""

    ids: range
    grid: tuple[int, ...]  # cells along each axis of the grid that the ids count, last axis fastest; (): no order


class SoftLabels:
    """Every action token to a Gaussian of ``sigma`` cells along each axis of its grid; other tokens as they are."""

    def __init__(self, kinds: Sequence[ActionIds], sigma: float) -> None:
        self._kinds = [(kind, [soft_table(count, sigma) for count in kind.grid]) for kind in kinds if kind.grid]

    def __call__(self, wanted: Int[Tensor, " n"], vocabulary: int) -> Float[Tensor, "n V"]:
        rows = torch.nn.functional.one_hot(wanted, vocabulary).float()
        for kind, tables in self._kinds:
            mine = (wanted >= kind.ids.start) & (wanted < kind.ids.stop)
            cells = wanted[mine] - kind.ids.start
            spread = torch.ones(len(cells), 1, device=wanted.device)
            for table in reversed(tables):  # the last axis counts fastest
                along = table.to(wanted.device)[cells % len(table)]
                spread = (along[:, :, None] * spread[:, None, :]).flatten(1)
                cells = cells // len(table)
            whole = torch.zeros(len(spread), vocabulary, device=wanted.device)
            whole[:, kind.ids.start : kind.ids.stop] = spread
            rows[mine] = whole
        return rows


def soft_table(cells: int, sigma: float) -> Float[Tensor, "n n"]:
    """Row c: a Gaussian of ``sigma`` cells around cell c, summing to one."""
    places = torch.arange(cells).float()
    weights = torch.exp(-0.5 * ((places[None] - places[:, None]) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)
