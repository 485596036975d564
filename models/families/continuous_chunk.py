"""A chunk of continuous actions that flow matching denoises: its place in the layout, its noise, its attention rows.

A policy reads a prefix once (images, words, for some the state), then denoises the chunk in several forwards of its
action expert, each of which reads the whole suffix: for some the state, then one position a step of the chunk. A step's
row is that of its own position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.capture import LANGUAGE, VISION, AttentionSite, RowCollector, Rows
from models.families.chunk_noise import NOISE_SEED
from models.sampling import noise_generator
from models.types import ActionSpace, AttentionRecord, Capture, Part, Prediction, Span, TokenLayout

EXPERT = "action expert"  # the stream of the rows of an action expert


def starting_noise(chunk: int, action_dim: int) -> Float[Tensor, "1 T D"]:
    """What denoising starts from, always the same: a policy answers one observation in one way.

    Standard normal, float32: what the published code draws on the CPU after ``torch.manual_seed(NOISE_SEED)``.
    """
    return torch.randn(1, chunk, action_dim, generator=noise_generator(NOISE_SEED))


def with_chunk(prompt: TokenLayout, chunk: int) -> TokenLayout:
    """``prompt`` (everything that the policy reads but the actions), then one position a step of the chunk."""
    names = tuple(f"step {step}" for step in range(chunk))
    start = len(prompt.tokens)
    steps = tuple(Span(Part.ACTION, name, start + step, start + step + 1) for step, name in enumerate(names))
    return TokenLayout((*prompt.tokens, *names), (*prompt.spans, *steps))


def continuous_prediction(
    actions: Float[np.ndarray, "T D"], space: ActionSpace, layout: TokenLayout, attention: tuple[AttentionRecord, ...]
) -> Prediction:
    """A prediction without tokens. ``layout`` ends with the chunk."""
    return Prediction(
        actions=actions,
        action_names=space.names,
        action_units=space.units,
        tokens=np.zeros(0, np.int64),
        token_texts=(),
        token_logprobs=np.zeros(0),
        text="",
        rationale=None,
        action_distribution=(),
        layout=layout,
        attention=attention,
    )


def in_robot_units(
    values: Float[Tensor, "T A"], restore: Callable[[Float[np.ndarray, "T A"]], Float[np.ndarray, "T D"]]
) -> Float[Tensor, "T D"]:
    """What ``restore`` makes of ``values``, for gradients: affine in each value, it may leave out the last ones."""
    nothing = np.zeros(tuple(values.shape), np.float32)
    offset = restore(nothing)
    slope = restore(nothing + 1) - offset
    told = values[:, : offset.shape[1]]
    return told * torch.from_numpy(slope).to(told) + torch.from_numpy(offset).to(told)


@dataclass(frozen=True)
class ChunkPlaces:
    """Where things lie in the layout of a run: prefix, the rest of what is read (the suffix' state), chunk."""

    prefix: int  # positions that the language model reads, once
    length: int  # of the whole layout
    chunk: int  # positions at its end

    @property
    def suffix(self) -> int:
        """Positions that the action expert reads in each denoising step."""
        return self.length - self.prefix


class DenoisingRows:
    """Attention rows of one run, as the capture asks: tell it which forward is coming, then ask for the records.

    Language rows come with ``capture.prefix``; the expert's rows of the chunk where ``capture.queries`` has the
    actions, those of other suffix positions with ``capture.prefix``; ``capture.layers`` limits both. Every row is over
    the whole layout: the expert's attention must see prefix and suffix keys in the layout's order.
    """

    def __init__(self, sites: Mapping[nn.Module, AttentionSite], capture: Capture, places: ChunkPlaces, steps: int):
        """``sites``: attention modules of the streams LANGUAGE, EXPERT and VISION; ``steps``: denoising steps."""
        self._capture, self._places, self._steps = capture, places, steps
        state = places.suffix - places.chunk
        first, stop = 0 if capture.prefix else state, places.suffix if Part.ACTION in capture.queries else state
        self._expert = range(first, stop)
        streams: dict[str, Rows | None] = {EXPERT: self._rows(len(self._expert) * steps, capture.layers)}
        if capture.prefix:
            streams[LANGUAGE] = self._rows(places.prefix, capture.layers)
        if capture.vision:
            streams[VISION] = None
        self.collector = RowCollector(sites, streams)  # for models.capture.collecting

    def expect_prefix(self) -> None:
        """The coming forward is the language model's, over the prefix (vision towers too, in one batch of images)."""
        self.collector.expect(slice(0, self._places.prefix) if self._capture.prefix else None, self._places.prefix)

    def expect_suffix(self, seen: int | None = None) -> None:
        """The coming forward is a denoising step of the action expert, over the whole suffix.

        ``seen``: where its attention sees only so many positions, from the first of the layout on (cross-attention).
        """
        rows = slice(self._expert.start, self._expert.stop) if len(self._expert) else None
        self.collector.expect(rows, self._places.length if seen is None else seen)

    def records(self, layout: TokenLayout) -> tuple[AttentionRecord, ...]:
        """Language rows first, where there are some, then the expert's, one record a denoising step."""
        return (*self._language(layout), *self._denoising(layout))

    def _rows(self, count: int, layers: Collection[int] | None) -> Rows:
        return Rows(count, self._places.length, layers)

    def _language(self, layout: TokenLayout) -> tuple[AttentionRecord, ...]:
        layers, count = self.collector.layers(LANGUAGE) if self._capture.prefix else (), self._places.prefix
        if not layers:
            return ()
        weights = self.collector.weights(LANGUAGE, self._places.length)
        return (AttentionRecord(weights, layers, tuple(range(count)), (-1,) * count, layout),)

    def _denoising(self, layout: TokenLayout) -> tuple[AttentionRecord, ...]:
        layers, rows, places = self.collector.layers(EXPERT), len(self._expert), self._places
        if not layers:
            return ()
        weights = self.collector.weights(EXPERT, places.length)
        queries = tuple(places.prefix + row for row in self._expert)
        produced = tuple(max(query - (places.length - places.chunk), -1) for query in queries)
        return tuple(
            AttentionRecord(
                weights[:, :, step * rows : (step + 1) * rows], layers, queries, produced, layout, EXPERT, step
            )
            for step in range(self._steps)
        )
