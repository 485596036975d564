"""Captured attention rows [L, A, Q, K] reduced to one row a query, [Q, K]. Pure functions; formulas in docs/metrics.md.

Layers are named by the model's own numbers, as in ``AttentionRecord.layers``; ``layers=None`` means all captured ones.
Every result is again attention of a query over the whole sequence; rows of `one_head`, `mean`, `rollout` and of `top_k`
fused by mean sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from models.errors import UserError
from models.types import AttentionRecord, Part, TokenLayout


def one_head(record: AttentionRecord, layer: int, head: int) -> Float[np.ndarray, "Q K"]:
    """The rows of one head. Raises UserError for a layer that was not captured or a head that does not exist."""
    weights = layer_weights(record, (layer,))[0]
    if not 0 <= head < weights.shape[0]:
        raise UserError(f"there is no head {head}; heads are 0 to {weights.shape[0] - 1}")
    return weights[head]


def mean(record: AttentionRecord, layers: Sequence[int] | None = None) -> Float[np.ndarray, "Q K"]:
    """The mean over ``layers`` and all their heads."""
    return layer_weights(record, layers).mean(axis=(0, 1))


def maximum(record: AttentionRecord, layers: Sequence[int] | None = None) -> Float[np.ndarray, "Q K"]:
    """The largest weight that any head of ``layers`` gives, entry by entry. Rows no longer sum to one."""
    return layer_weights(record, layers).max(axis=(0, 1))


@dataclass(frozen=True)
class TopK:
    """Settings of a top-k fusion. The paper that uses one publishes none of them, so each is a choice to show."""

    k: int = 4
    layers: tuple[int, ...] | None = None  # None: all captured
    keep: Literal["heads", "heads of each layer", "layers", "entries"] = "heads"  # what the k best are chosen among
    ranked_by: Literal["image attention", "largest image weight"] = "image attention"  # sum or maximum over the image
    ranked_over: Literal["query", "all queries"] = "query"  # each query keeps its own k, or all keep the same
    fuse: Literal["mean", "max"] = "mean"
    camera: str | None = None  # the image that ranks; None: all images


@dataclass(frozen=True)
class Fusion:
    """The result of `top_k`, and what went into it."""

    rows: Float[np.ndarray, "Q K"]
    chosen: tuple[tuple[tuple[int, int], ...], ...]  # per query (layer, head), best first; head -1: the layer's mean
    settings: TopK


def top_k(record: AttentionRecord, settings: TopK) -> Fusion:
    """Attention fused over the k heads (or layers) that attend most to the image; equal scores go to the lower number.

    ``keep="entries"`` fuses instead the k largest weights of every single entry, over all heads.
    Raises UserError if there are fewer than k to choose from.
    """
    weights = layer_weights(record, settings.layers)
    layers = record.layers if settings.layers is None else settings.layers
    if settings.keep == "layers":
        weights = weights.mean(axis=1, keepdims=True)
    heads = weights.shape[1]
    available = heads if settings.keep == "heads of each layer" else heads * len(layers)
    if not 1 <= settings.k <= available:
        raise UserError(f"top-k fusion was asked for k = {settings.k}; here k can be 1 to {available}")
    flat = weights.reshape(-1, *weights.shape[2:])  # [layers * heads, Q, K]
    if settings.keep == "entries":
        best = np.sort(flat, axis=0)[::-1][: settings.k]
        return Fusion(_fuse(best, settings.fuse), ((),) * flat.shape[1], settings)
    order = _best(_scores(flat, record.layout, settings), len(layers), heads, settings)  # [k, Q]
    rows = _fuse(np.take_along_axis(flat, order[:, :, None], axis=0), settings.fuse)
    names = [(layer, -1 if settings.keep == "layers" else head) for layer in layers for head in range(heads)]
    return Fusion(rows, tuple(tuple(names[index] for index in column) for column in order.T), settings)


def rollout(record: AttentionRecord, queries: Sequence[int] | None = None) -> Float[np.ndarray, "q K"]:
    """Attention rollout: R = A'_top ... A'_0 with A' = (mean over heads + identity) / 2 (Abnar and Zuidema, 2020).

    ``queries``: positions in the layout whose rows are wanted; None: all captured ones.
    Raises UserError unless all layers from 0 on, and the rows of every position that attention passes through, were
    captured (``Capture(prefix=True)`` with all generated parts).
    """
    if record.layers != tuple(range(len(record.layers))):
        raise UserError(
            f"rollout needs every layer from 0 on; this record has layers {', '.join(map(str, record.layers))}"
        )
    wanted = record.queries if queries is None else tuple(queries)
    length = record.weights.shape[3]
    have = np.array(record.queries, dtype=np.int64)
    without_row = np.setdiff1d(np.arange(length), have)
    flow = np.zeros((len(wanted), length))
    flow[np.arange(len(wanted)), list(wanted)] = 1
    for weights in record.weights[::-1].astype(np.float64).mean(axis=1):  # from the top layer down, [Q, K]
        if flow[:, without_row].any():
            position = without_row[flow[:, without_row].any(axis=0).argmax()]
            raise UserError(
                f"rollout passes through position {position} ({record.layout.tokens[position]!r}), whose attention was "
                "not captured; capture again with the prompt's own rows (prefix) and all generated parts"
            )
        rows = weights / weights.sum(axis=1, keepdims=True)  # half precision sums to one only nearly
        flow = 0.5 * flow + 0.5 * flow[:, have] @ rows
    return flow


def layer_weights(record: AttentionRecord, layers: Sequence[int] | None) -> Float[np.ndarray, "l A Q K"]:
    """The weights of ``layers``, in that order. Raises UserError for one that was not captured."""
    if layers is None:
        return record.weights
    if not layers:
        raise UserError("no layer was chosen; choose at least one")
    if missing := [layer for layer in layers if layer not in record.layers]:
        captured = ", ".join(map(str, record.layers))
        raise UserError(f"layer {missing[0]} was not captured; the captured layers are {captured}")
    return record.weights[[record.layers.index(layer) for layer in layers]]


def image_positions(layout: TokenLayout, camera: str | None = None) -> Int[np.ndarray, " n"]:
    """Positions of one camera's image tokens, or of all images. Raises UserError if there are none."""
    spans = [span for span in layout.spans if span.part is Part.IMAGE and camera in (None, span.name)]
    if not spans:
        cameras = [span.name for span in layout.spans if span.part is Part.IMAGE]
        raise UserError(
            f"there are no tokens of an image {camera or ''}; the sequence has {', '.join(cameras) or 'none'}"
        )
    return np.concatenate([np.arange(span.start, span.stop) for span in spans])


def _scores(flat: np.ndarray, layout: TokenLayout, settings: TopK) -> np.ndarray:
    """[candidates, Q]"""
    on_image = flat[:, :, image_positions(layout, settings.camera)]
    scores = on_image.sum(axis=2) if settings.ranked_by == "image attention" else on_image.max(axis=2)
    if settings.ranked_over == "all queries":
        scores = np.broadcast_to(scores.mean(axis=1, keepdims=True), scores.shape)
    return scores


def _best(scores: np.ndarray, layers: int, heads: int, settings: TopK) -> np.ndarray:
    """Candidate numbers, best first, [k, Q] (or [layers * k, Q] where every layer keeps k)."""
    if settings.keep != "heads of each layer":
        return np.argsort(-scores, axis=0, kind="stable")[: settings.k]
    within = np.argsort(-scores.reshape(layers, heads, -1), axis=1, kind="stable")[:, : settings.k]
    return (within + heads * np.arange(layers)[:, None, None]).reshape(layers * settings.k, -1)


def _fuse(rows: np.ndarray, how: str) -> np.ndarray:
    return rows.mean(axis=0) if how == "mean" else rows.max(axis=0)
