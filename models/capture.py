"""Exact attention rows out of a running model, nearly free.

SDPA computes the output as always; softmax(QK^T) is computed in addition only for the query rows that are wanted. The
function is registered through transformers' AttentionInterface, and its mask function with it: without the latter the
mask would silently be None. Soft-capped attention (Gemma 2) has no SDPA kernel: there a layer's map is made, its rows
are kept, and the map is dropped; so it is where a knock-out closes some of its entries. Without an active collector a
forward is an ordinary one, and since the active
collector is a context variable, several threads can run one model at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.cut_attention import active_cuts, merged
from models.errors import UserError

ROW_ATTENTION = "vla_lens_rows"  # the attention implementation to set on a model, once, when it is loaded
LANGUAGE, VISION = "language", "vision"


@dataclass(frozen=True)
class AttentionSite:
    """Which attention a module is: SigLIP's modules do not know their layer themselves."""

    stream: str
    layer: int


def attention_sites(model: nn.Module, patterns: Mapping[str, str]) -> dict[nn.Module, AttentionSite]:
    """Attention modules of ``model``; per stream a regular expression on module names with the layer as its group."""
    sites: dict[nn.Module, AttentionSite] = {}
    for name, module in model.named_modules():
        for stream, pattern in patterns.items():
            if match := re.search(pattern, name):
                sites[module] = AttentionSite(stream, int(match[1]))
    return sites


def check_layers(asked: Collection[int] | None, count: int) -> None:
    """Raises UserError for a layer that is not among the ``count`` that there are."""
    outside = [layer for layer in asked or () if not 0 <= layer < count]
    if outside:
        raise UserError(f"there is no layer {outside[0]}; the policy has layers 0 to {count - 1}")


@dataclass(frozen=True)
class Rows:
    """What is wanted of a stream that is read in several forwards: at most ``count`` rows over ``length`` positions."""

    count: int
    length: int
    layers: Collection[int] | None = None  # None: all
    windows: bool = False  # a forward attends window by window, each in a call of its own, in order of position


class RowCollector:
    """Rows of one run. Tell it before each forward what is wanted; one collector belongs to one thread.

    All rows of a stream go into one block that is made at the first of them: many small tensors kept between the large
    ones of a forward would tear holes into the heap that cost more than the rows.
    """

    def __init__(self, sites: Mapping[nn.Module, AttentionSite], streams: Mapping[str, Rows | None]):
        """``streams``: what is wanted of each; None means every row of every layer, from one forward."""
        self._sites, self._streams = sites, streams
        self._places: dict[str, dict[int, int]] = {}  # stream -> layer -> index in the stream's block
        for stream, asked in streams.items():
            found = sorted(site.layer for site in sites.values() if site.stream == stream)
            wanted = [layer for layer in found if asked is None or asked.layers is None or layer in asked.layers]
            self._places[stream] = {layer: index for index, layer in enumerate(wanted)}
        self._blocks: dict[str, Float[Tensor, "L B A R K"]] = {}
        self._filled: dict[AttentionSite, int] = {}
        self._rows: slice | None = None
        self._length = 0

    def expect(self, rows: slice | None, length: int) -> None:
        """The coming forward: keep ``rows`` of its queries (None: nothing); ``length`` positions are known after it."""
        self._rows, self._length = rows, length

    def rows_for(self, module: nn.Module) -> slice | None:
        """Which query rows to keep of this module in the running forward."""
        site = self._sites.get(module)
        if site is None or site.layer not in self._places.get(site.stream, ()):
            return None
        return self._rows if self._streams[site.stream] is not None else slice(None)

    def keep(self, module: nn.Module, weights: Float[Tensor, "B A R k"]) -> None:
        site = self._sites[module]
        rows, keys = weights.shape[2:]
        if site.stream not in self._blocks:
            self._blocks[site.stream] = self._block(site.stream, weights)
        first = self._filled.get(site, 0)
        asked = self._streams[site.stream]
        latest = self._length - keys  # a sliding layer has dropped its oldest keys: what it still has are the latest
        offset = 0 if asked is None else first if asked.windows else latest
        layer = self._places[site.stream][site.layer]
        self._blocks[site.stream][layer, :, :, first : first + rows, offset : offset + keys] = weights
        self._filled[site] = first + rows

    def layers(self, stream: str) -> tuple[int, ...]:
        return tuple(self._places[stream]) if stream in self._blocks else ()

    def weights(self, stream: str, length: int, sample: int = 0) -> Float[np.ndarray, "L A Q K"]:
        """All rows kept of ``stream`` in the order of the forwards, over ``length`` positions, zero where not seen."""
        if stream not in self._blocks:
            return np.zeros((0, 0, 0, length), np.float32)
        filled = max(count for site, count in self._filled.items() if site.stream == stream)
        kept: np.ndarray = self._blocks[stream][:, sample, :, :filled, :length].numpy()
        return kept

    def _block(self, stream: str, first: Float[Tensor, "B A R k"]) -> Float[Tensor, "L B A R K"]:
        asked = self._streams[stream]
        rows, length = (asked.count, asked.length) if asked is not None else first.shape[2:]
        shape = (len(self._places[stream]), *first.shape[:2], rows, length)
        # in main memory wherever the model is: numpy's zeros take none before they are written to
        return torch.from_numpy(np.zeros(shape, np.float32))


_active: ContextVar[RowCollector | None] = ContextVar("attention_row_collector", default=None)


@contextmanager
def collecting(collector: RowCollector | None) -> Iterator[None]:
    """Forwards inside, on this thread, hand their rows to ``collector``."""
    token = _active.set(collector)
    try:
        yield
    finally:
        _active.reset(token)


class MapGradients:
    """Attention maps A and the gradient of one number with respect to them, layer by layer, without keeping any.

    With O = A V the gradient is exact as dL/dA = dL/dO V^T, so no map has to be part of the graph. ``reduce(A, dL/dA)``
    is called in the backward pass, once a layer, from the top layer down; its result is kept.
    """

    def __init__(self, reduce: Callable[[Float[Tensor, "B A Q K"], Float[Tensor, "B A Q K"]], Tensor]):
        self._reduce = reduce
        self.layers: dict[int, Tensor] = {}  # in the order in which the forward called them
        self._count = 0

    def watch(
        self, output: Float[Tensor, "B Q A d"], value: Float[Tensor, "B G K d"], maps: Callable[[], Tensor]
    ) -> None:
        layer, value = self._count, value.detach()
        self._count += 1

        def backward(gradient: Float[Tensor, "B Q A d"]) -> None:
            with torch.no_grad():
                batch, queries, heads, width = gradient.shape
                groups = value.shape[1]
                grouped = gradient.transpose(1, 2).reshape(batch, groups, -1, width).float()
                slopes = torch.matmul(grouped, value.float().transpose(2, 3)).reshape(batch, heads, queries, -1)
                self.layers[layer] = self._reduce(maps(), slopes)

        output.register_hook(backward)


_watching: ContextVar[MapGradients | None] = ContextVar("attention_map_gradients", default=None)


@contextmanager
def watching_maps(gradients: MapGradients) -> Iterator[None]:
    """Forwards inside, on this thread, report to ``gradients``; run their backward inside or outside."""
    token = _watching.set(gradients)
    try:
        yield
    finally:
        _watching.reset(token)


def attention_rows(
    query: Float[Tensor, "B A R d"],
    key: Float[Tensor, "B G K d"],
    mask: Bool[Tensor, "B #A R #K"] | Float[Tensor, "B #A R #K"] | None,
    scaling: float,
    softcap: float | None = None,
) -> Float[Tensor, "B A R K"]:
    """softmax(QK^T) of some query rows in float32; G key heads serve A query heads (grouped-query attention).

    ``mask`` is boolean (True: may look) or additive. A row that may look nowhere is zero.
    """
    batch, heads, rows, width = query.shape
    groups, length = key.shape[1], key.shape[2]
    grouped = query.float().reshape(batch, groups, heads // groups * rows, width)
    scores = torch.matmul(grouped, key.float().transpose(2, 3)).reshape(batch, heads, rows, length) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        return torch.softmax(scores, dim=-1)
    if mask.dtype != torch.bool:
        return torch.nan_to_num(torch.softmax(scores + mask, dim=-1), nan=0.0)
    weights = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(~mask, 0.0)


def row_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """transformers' attention function: SDPA's output, and rows for the active collector on the side."""
    collector = _active.get()
    rows = collector.rows_for(module) if collector is not None else None
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    causal = is_causal if is_causal is not None else bool(getattr(module, "is_causal", True))
    cuts = active_cuts()
    closed = cuts.closed(module, query, key) if cuts is not None else None
    if closed is not None:
        attention_mask = merged(attention_mask, closed, causal)
    if softcap is not None or closed is not None:
        every = _weights(query, key, attention_mask, slice(None), scale, causal, softcap)
        output = _output(every, value, dropout)
        weights = every[:, :, rows].clone() if rows is not None else None
    else:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **kwargs
        )
        with torch.no_grad():
            weights = _weights(query, key, attention_mask, rows, scale, causal) if rows is not None else None
    if collector is not None and weights is not None:
        collector.keep(module, weights.detach())
    if (gradients := _watching.get()) is not None and output.requires_grad:
        q, k = query.detach(), key.detach()
        gradients.watch(output, value, lambda: _weights(q, k, attention_mask, slice(None), scale, causal, softcap))
    return cuts.without_heads(module, output) if cuts is not None else output, None


def _weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    rows: slice,
    scale: float,
    causal: bool,
    softcap: float | None = None,
) -> Tensor:
    queries, keys = query.shape[2], key.shape[2]
    if mask is None and causal and queries > 1:  # SDPA aligns a causal mask at the upper left
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask is not None and mask.shape[2] > 1:
        mask = mask[:, :, rows]
    if mask is not None:
        mask = mask[..., :keys]
    return attention_rows(query[:, :, rows], key, mask, scale, softcap)


def _output(weights: Tensor, value: Tensor, dropout: float) -> Tensor:
    batch, heads, queries, keys = weights.shape
    groups = value.shape[1]
    weights = nn.functional.dropout(weights.to(value.dtype), p=dropout)
    output = torch.matmul(weights.reshape(batch, groups, heads // groups * queries, keys), value)
    return output.reshape(batch, heads, queries, -1).transpose(1, 2).contiguous()


AttentionInterface.register(ROW_ATTENTION, row_attention)
AttentionMaskInterface.register(ROW_ATTENTION, sdpa_mask)
