"""From a prediction's attention and a view to one row over the sequence, with what it took said in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from analysis import attention
from analysis.pictures.queries import Query, is_vision, resolve
from analysis.pictures.view import View
from models.errors import UserError
from models.types import AttentionRecord, Part, Prediction, Span, TokenLayout

EXPERT = "action expert"
STREAMS = {"language": "language model", "vision": "vision tower"}


@dataclass(frozen=True)
class Row:
    values: Float[np.ndarray, " K"]
    layout: TokenLayout
    words: str  # method and query
    share: bool  # whether the row sums to one
    signed: bool = False


def attention_row(prediction: Prediction, view: View) -> Row:
    """The row that the player shows for this view. Raises UserError where there is none."""
    record, query = asked_rows(prediction, view)
    values = _reduced(record, view, query.rows)
    stream = (
        "" if record.stream == "language" and len({one.stream for one in prediction.attention}) < 2 else _stream(record)
    )
    share = view.reduce != "max" and (view.reduce != "topk" or (view.fuse == "mean" and view.keep != "entries"))
    return Row(values, record.layout, f"{stream}{_reduction(record, view)} · query: {query.words}", share)


def asked_rows(prediction: Prediction, view: View) -> tuple[AttentionRecord, Query]:
    """Where the rows lie that a view asks, and which they are. Raises UserError where there are none."""
    record = _record(prediction, view)
    return record, resolve(prediction, record, view.query, _asked_position(record, view))


@dataclass(frozen=True)
class HeadShares:
    """How much of the query's row each head has on the image."""

    layers: tuple[int, ...]
    shares: Float[np.ndarray, "L A"]
    chosen: frozenset[tuple[int, int]]  # layer and head of those that the view draws by themselves
    words: str  # the query


def head_shares(prediction: Prediction, view: View) -> HeadShares:
    """The player's matrix of heads. Raises UserError where no attention was kept for the query."""
    record, query = asked_rows(prediction, view)
    one = _averaged(record, query.rows)
    shares = one.weights[:, :, 0, record.layout.positions(Part.IMAGE)].sum(axis=-1)
    return HeadShares(record.layers, shares, _chosen(record, one, view), f"query: {query.words}")


def looking_at_patch(prediction: Prediction, view: View) -> dict[int, float]:
    """Of every position that was written: how much of its row, reduced as the view says, is on the picked patch.

    Raises UserError where no patch is picked, or no attention was kept.
    """
    record = _record(prediction, view)
    position, start = patch_position(record.layout, view), len(record.layout.tokens) - prediction.written
    if position < 0 or is_vision(record):
        raise UserError(f"there is no patch {view.patch} that the language model reads")
    return {
        start + index: float(_reduced(record, view, (row,))[position])
        for row, index in enumerate(record.produced)
        if index >= 0
    }


def _chosen(record: AttentionRecord, one: AttentionRecord, view: View) -> frozenset[tuple[int, int]]:
    if view.reduce == "head":
        layer = record.layers[min(max(0, view.layer), len(record.layers) - 1)]
        return frozenset({(layer, min(max(0, view.head), record.weights.shape[1] - 1))})
    if view.reduce != "topk" or view.keep == "entries":
        return frozenset()
    ranking = record if view.ranked_over == "all queries" else one
    return frozenset(attention.top_k(ranking, _top_k(record, view)).chosen[0])


def image_spans(layout: TokenLayout) -> list[Span]:
    """Runs of image tokens that form a grid on a frame."""
    return [
        span
        for span in layout.spans
        if span.part is Part.IMAGE
        and span.grid is not None
        and span.grid.rows * span.grid.columns == span.stop - span.start
        and np.isfinite(span.grid.box).all()
    ]


def _record(prediction: Prediction, view: View) -> AttentionRecord:
    """As the server chooses for the player: the stream that is asked for, else the one that wrote the actions."""
    there = [one for one in prediction.attention if 0 not in one.weights.shape]
    if not there:
        raise UserError("no attention was captured at this step")
    written = [one for one in there if any(index >= 0 for index in one.produced)]
    own = [one for one in written if one.stream == EXPERT] or written or there
    found = [one for one in there if one.stream == view.stream] or own
    found = [one for one in found if one.stream == found[0].stream]
    if view.camera and is_vision(found[0]):
        found = [
            one for one in found if any(s.grid and s.grid.camera == view.camera for s in one.layout.spans)
        ] or found
    return next((one for one in found if one.denoising_step == view.denoise), found[-1])


def _reduced(record: AttentionRecord, view: View, rows: tuple[int, ...]) -> Float[np.ndarray, " K"]:
    if view.reduce == "rollout":
        return attention.rollout(record, [record.queries[row] for row in rows]).mean(axis=0)
    one = _averaged(record, rows)
    layers = _layers(record, view)
    if view.reduce == "head":
        layer = record.layers[min(max(0, view.layer), len(record.layers) - 1)]
        return attention.one_head(one, layer, min(max(0, view.head), record.weights.shape[1] - 1))[0]
    if view.reduce == "mean":
        return attention.mean(one, layers)[0]
    if view.reduce == "max":
        return attention.maximum(one, layers)[0]
    settings = _top_k(record, view)
    if view.ranked_over != "all queries" or view.keep == "entries":
        return attention.top_k(one, settings).rows[0]
    chosen = attention.top_k(record, settings).chosen[0]  # the same for all queries
    picked = [
        attention.layer_weights(one, (layer,))[0].mean(axis=0)[0]
        if head < 0
        else attention.one_head(one, layer, head)[0]
        for layer, head in chosen
    ]
    return np.mean(picked, axis=0) if view.fuse == "mean" else np.max(picked, axis=0)


def _averaged(record: AttentionRecord, rows: tuple[int, ...]) -> AttentionRecord:
    """The record with the mean of some rows as its only query."""
    weights = record.weights[:, :, list(rows)].astype(np.float32).mean(axis=2, keepdims=True)
    return replace(record, weights=weights, queries=(record.queries[rows[0]],), produced=(record.produced[rows[0]],))


def _layers(record: AttentionRecord, view: View) -> tuple[int, ...]:
    last = len(record.layers) - 1
    to = last if view.to < 0 else min(last, view.to)
    return record.layers[min(max(0, view.start), to) : to + 1]


def _top_k(record: AttentionRecord, view: View) -> attention.TopK:
    layers, heads = _layers(record, view), record.weights.shape[1]
    most = {"heads of each layer": heads, "layers": len(layers)}.get(view.keep, heads * len(layers))
    keep: dict[str, object] = {name: getattr(view, name) for name in ("keep", "ranked_by", "ranked_over", "fuse")}
    camera = view.ranked_camera or None
    return attention.TopK(k=min(max(1, view.k), most), layers=layers, camera=camera, **keep)  # type: ignore[arg-type]


def _asked_position(record: AttentionRecord, view: View) -> int:
    return patch_position(record.layout, view) if is_vision(record) else -1


def patch_position(layout: TokenLayout, view: View) -> int:
    """Where the picked patch of the shown camera stands in the sequence; -1 where there is none."""
    spans = image_spans(layout)
    own = [span for span in spans if span.grid and span.grid.camera == view.camera] or spans
    positions = [position for span in own for position in range(span.start, span.stop)]
    return positions[view.patch] if 0 <= view.patch < len(positions) else -1


def _stream(record: AttentionRecord) -> str:
    step = "" if record.denoising_step is None else f", denoising step {record.denoising_step + 1}"
    return f"{STREAMS.get(record.stream, record.stream)}{step} · "


def _reduction(record: AttentionRecord, view: View) -> str:
    """Every choice in words: a picture without them could not be made again."""
    chosen = _layers(record, view)
    layers = f"layer {chosen[0]}" if len(chosen) == 1 else f"layers {chosen[0]}–{chosen[-1]}"
    if view.reduce == "head":
        layer = record.layers[min(max(0, view.layer), len(record.layers) - 1)]
        return f"attention of layer {layer}, head {min(max(0, view.head), record.weights.shape[1] - 1)}"
    if view.reduce in ("mean", "max"):
        return f"attention, {'mean' if view.reduce == 'mean' else 'maximum'} of all heads, {layers}"
    if view.reduce == "rollout":
        return "attention rollout through all layers"
    k = _top_k(record, view).k
    if view.keep == "entries":
        return f"attention, top-k fusion: {view.fuse} of the {k} largest weights of every entry, all heads of {layers}"
    kept = {"layers": f"{k} of {layers}, heads averaged", "heads": f"{k} heads of {layers}"}.get(
        view.keep, f"{k} heads of each layer, {layers}"
    )
    over = "of this query" if view.ranked_over == "query" else "over all queries"
    camera = f" in {view.ranked_camera}" if view.ranked_camera else ""
    return f"attention, top-k fusion: {view.fuse} of {kept}, ranked by {view.ranked_by}{camera} {over}"
