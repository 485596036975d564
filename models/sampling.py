"""How tokens are chosen: the likeliest, or drawn where a run is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    temperature: float  # divides the scores
    draw: torch.Generator  # of one run, on the CPU


_active: ContextVar[Sampling | None] = ContextVar("token_sampling", default=None)


@contextmanager
def drawing(sampling: Sampling) -> Iterator[None]:
    """Runs inside, on this thread, draw their tokens and their noise."""
    token = _active.set(sampling)
    try:
        yield
    finally:
        _active.reset(token)


def picked(scores: Float[Tensor, " n"]) -> int:
    """The index of the token to say: the highest score, or one drawn by softmax(scores / temperature)."""
    sampling = _active.get()
    if sampling is None:
        return int(scores.argmax())
    odds = torch.softmax(scores.detach().cpu().double() / sampling.temperature, dim=-1)
    return int(torch.multinomial(odds, 1, generator=sampling.draw))


def noise_generator(usual: int) -> torch.Generator:
    """The generator of a denoising run's noise: seeded with ``usual``, or the run's own."""
    sampling = _active.get()
    return torch.Generator().manual_seed(usual) if sampling is None else sampling.draw
