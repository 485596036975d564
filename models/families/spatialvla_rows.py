"""Attention rows of a SpatialVLA run: what to keep of it, and the records of what was kept."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from models.capture import LANGUAGE, VISION, AttentionSite, RowCollector, Rows
from models.decoding import GreedyRun
from models.errors import UserError
from models.families.action_token_answer import Answer
from models.types import AttentionRecord, Capture, CheckpointSpec, Part, Span, TokenLayout

SITES = {
    LANGUAGE: r"^language_model\.model\.layers\.(\d+)\.self_attn$",
    VISION: r"^vision_tower\.(?:vision_model\.)?encoder\.layers\.(\d+)\.self_attn$",
}


def row_collector(
    sites: Mapping[nn.Module, AttentionSite], info: CheckpointSpec, capture: Capture | None, prompt: int, longest: int
) -> RowCollector | None:
    """For a sequence of at most ``longest`` positions. Raises UserError for a layer that is not there."""
    if capture is None:
        return None
    outside = [layer for layer in capture.layers or () if not 0 <= layer < info.layers]
    if outside:
        raise UserError(f"there is no layer {outside[0]}; {info.name} has layers 0 to {info.layers - 1}")
    rows = Rows(longest if capture.prefix else longest - prompt + 1, longest, capture.layers)
    return RowCollector(sites, {LANGUAGE: rows, VISION: None} if capture.vision else {LANGUAGE: rows})


def records(run: GreedyRun, answer: Answer, capture: Capture, collector: RowCollector) -> tuple[AttentionRecord, ...]:
    """The language model's rows that were asked for, and the vision tower's."""
    prompt = len(answer.layout.tokens) - len(answer.tokens)
    produced = [_wanted(query - (prompt - 1), answer, capture) for query in run.queries]
    rows = [row for row, query in enumerate(run.queries) if produced[row] >= 0 or (capture.prefix and query < prompt)]
    language = AttentionRecord(
        weights=collector.weights(LANGUAGE, len(answer.layout.tokens))[:, :, rows],
        layers=collector.layers(LANGUAGE),
        queries=tuple(run.queries[row] for row in rows),
        produced=tuple(produced[row] for row in rows),
        layout=answer.layout,
    )
    return (language, _vision_record(answer.layout, collector)) if capture.vision else (language,)


def _vision_record(layout: TokenLayout, collector: RowCollector) -> AttentionRecord:
    span = next(span for span in layout.spans if span.part is Part.IMAGE)
    count = span.stop - span.start
    seen = TokenLayout(layout.tokens[span.start : span.stop], (Span(Part.IMAGE, span.name, 0, count, span.grid),))
    weights = collector.weights(VISION, count)
    return AttentionRecord(weights, collector.layers(VISION), tuple(range(count)), (-1,) * count, seen, VISION)


def _wanted(token: int, answer: Answer, capture: Capture) -> int:
    """``token`` where a row of that generated token was asked for, else -1."""
    return token if 0 <= token < len(answer.tokens) and answer.parts[token] in capture.queries else -1
