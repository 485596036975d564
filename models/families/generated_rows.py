"""Attention rows of a run that generates tokens: what to keep of it, and the records of what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from models.capture import LANGUAGE, VISION, AttentionSite, RowCollector, Rows, check_layers
from models.decoding import GreedyRun
from models.types import AttentionRecord, Capture, Part, Span, TokenLayout


def row_collector(
    sites: Mapping[nn.Module, AttentionSite],
    layers: int,
    capture: Capture | None,
    prompt: int,
    longest: int,
    towers: Sequence[str] = (),
) -> RowCollector | None:
    """For a prompt of ``prompt`` positions that grows to at most ``longest``; None where nothing is to be kept.

    ``towers``: streams of vision towers, whose rows are kept where ``capture`` asks for them.
    Raises UserError for a layer that is not there.
    """
    if capture is None:
        return None
    check_layers(capture.layers, layers)
    rows = Rows(longest if capture.prefix else longest - prompt + 1, longest, capture.layers)
    seen: dict[str, Rows | None] = dict.fromkeys(towers) if capture.vision else {}
    return RowCollector(sites, {LANGUAGE: rows} | seen)


def generated_rows(run: GreedyRun, layout: TokenLayout, capture: Capture, collector: RowCollector) -> AttentionRecord:
    """The language model's rows that were asked for, over the whole sequence; each belongs to the token it produced."""
    prompt = len(layout.tokens) - len(run.tokens)
    parts = [span.part for span in layout.spans for _ in range(span.start, span.stop)]
    kept: list[tuple[int, int, int]] = []  # row, query, token it produced
    for row, query in enumerate(run.queries):
        token = query - (prompt - 1)
        wanted = 0 <= token < len(run.tokens) and parts[query + 1] in capture.queries
        if wanted or (capture.prefix and query < prompt):
            kept.append((row, query, token if wanted else -1))
    return AttentionRecord(
        weights=collector.weights(LANGUAGE, len(layout.tokens))[:, :, [row for row, _, _ in kept]],
        layers=collector.layers(LANGUAGE),
        queries=tuple(query for _, query, _ in kept),
        produced=tuple(token for _, _, token in kept),
        layout=layout,
    )


def language_and_image_rows(
    run: GreedyRun, layout: TokenLayout, capture: Capture, collector: RowCollector
) -> tuple[AttentionRecord, ...]:
    """What ``capture`` asked for of a policy with one image and one vision tower."""
    language = generated_rows(run, layout, capture, collector)
    return (language, _image_rows(layout, collector)) if capture.vision else (language,)


def _image_rows(layout: TokenLayout, collector: RowCollector) -> AttentionRecord:
    """Every row of a vision tower whose tokens are those of the only image of ``layout``."""
    span = next(span for span in layout.spans if span.part is Part.IMAGE)
    count = span.stop - span.start
    seen = TokenLayout(layout.tokens[span.start : span.stop], (Span(Part.IMAGE, span.name, 0, count, span.grid),))
    weights = collector.weights(VISION, count)
    return AttentionRecord(weights, collector.layers(VISION), tuple(range(count)), (-1,) * count, seen, VISION)
