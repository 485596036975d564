"""What a query spends its attention on: shares per span, with the sink apart. Formulas in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from models.types import Part, Span, TokenLayout


@dataclass(frozen=True)
class SpanShares:
    """Shares of attention; ``shares`` and ``sink`` together sum to one wherever the rows did."""

    spans: tuple[Span, ...]  # those of the layout that are no sink
    shares: Float[np.ndarray, "*rows S"]  # one a span
    sink: Float[np.ndarray, "*rows"]

    def of(self, part: Part) -> Float[np.ndarray, "*rows"]:
        """The shares of all spans of one part together."""
        of_part = [span.part is part for span in self.spans]
        return np.asarray(self.shares[..., of_part].sum(axis=-1))


def sink_positions(layout: TokenLayout, generated: int) -> Int[np.ndarray, " n"]:
    """The prompt's special tokens, such as <bos>: much attention rests there and says nothing about the input.

    ``generated``: how many positions at the end of the sequence the policy wrote itself (``prediction.written``).
    """
    special = layout.positions(Part.SPECIAL)
    return special[special < len(layout.tokens) - generated]


def share_per_span(
    rows: Float[np.ndarray, "*rows K"], layout: TokenLayout, sinks: Int[np.ndarray, " n"] | tuple[int, ...] = ()
) -> SpanShares:
    """Sums each row over every span; positions in ``sinks`` are summed apart, spans made of sinks alone left out."""
    is_sink = np.zeros(rows.shape[-1], dtype=bool)
    is_sink[np.asarray(sinks, dtype=np.int64)] = True
    spans = tuple(span for span in layout.spans if not is_sink[span.start : span.stop].all())
    kept = np.where(is_sink, 0, rows)
    columns = [kept[..., span.start : span.stop].sum(axis=-1) for span in spans]
    shares = np.stack(columns, axis=-1) if columns else np.zeros((*rows.shape[:-1], 0), rows.dtype)
    return SpanShares(spans, shares, np.asarray(rows[..., is_sink].sum(axis=-1)))


def without_sink(
    rows: Float[np.ndarray, "*rows K"], sinks: Int[np.ndarray, " n"] | tuple[int, ...]
) -> Float[np.ndarray, "*rows K"]:
    """Rows with the sinks set to zero and the rest scaled to sum to one; a row that is all sink becomes all zero."""
    kept = rows.copy()
    kept[..., np.asarray(sinks, dtype=np.int64)] = 0
    total = kept.sum(axis=-1, keepdims=True)
    return np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)
