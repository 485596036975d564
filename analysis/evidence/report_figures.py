"""Charts of a report as inline SVG: no script, no font of its own, colours from the page's style. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from analysis.evidence.comparison import Row
from analysis.evidence.layers import LayerChange
from analysis.evidence.verdict import rounded
from analysis.metrics.bootstrap import Estimate

ROW, LABEL, WIDTH, RIGHT = 26, 250, 960, 240


def forest(rows: Sequence[Row]) -> str:
    """Differences, each divided by the larger of its interval's ends, so that all fit on one axis around zero."""
    shown = [row for row in rows if row.difference.has_interval]
    if not shown:
        return "<p>No metric has enough episodes for an interval.</p>"
    height = ROW * len(shown) + 24
    middle, half = LABEL + (WIDTH - LABEL - RIGHT) / 2, (WIDTH - LABEL - RIGHT) / 2 - 8
    parts = [f'<line class="axis" x1="{middle}" y1="4" x2="{middle}" y2="{height - 20}"/>']
    for index, row in enumerate(shown):
        held, y = row.difference, 16 + ROW * index
        reach = max(abs(held.low), abs(held.high)) or 1.0
        low, value, high = (middle + half * x / reach for x in (held.low, held.value, held.high))
        kind = "sure" if row.says in ("higher", "lower") else "open"
        text = f"{rounded(held.value)} [{rounded(held.low)}, {rounded(held.high)}]"
        parts += [
            f'<text x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{escape(row.metric.title)}</text>',
            f'<line class="{kind}" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>',
            f'<circle class="{kind}" cx="{value:.1f}" cy="{y}" r="4.5"/>',
            f'<text class="quiet" x="{WIDTH - RIGHT + 8}" y="{y + 4}">{escape(text)}</text>',
        ]
    parts.append(f'<text class="quiet" x="{middle}" y="{height - 4}" text-anchor="middle">second lower | higher</text>')
    return _svg(WIDTH, height, parts, "Differences between the two policies with their intervals")


def layers(changes: Sequence[LayerChange]) -> str:
    """CKA and attention change of each layer, with intervals."""
    left = _series([each.cka for each in changes], "CKA of the states (1: the same)", 1.0)
    most = max((each.attention.high for each in changes if each.attention.has_interval), default=math.nan)
    top = most if math.isfinite(most) and most > 0 else max(each.attention.value for each in changes) or 1.0
    right = _series([each.attention for each in changes], "Attention change (total variation)", top)
    return f'<div class="two">{left}{right}</div>'


def _series(values: Sequence[Estimate], title: str, top: float) -> str:
    width, height, foot = 440, 190, 150
    step = (width - 70) / max(1, len(values))
    parts = [
        f'<text x="46" y="14">{escape(title)}</text>',
        f'<line class="axis" x1="46" y1="{foot}" x2="{width - 10}" y2="{foot}"/>',
        f'<text class="quiet" x="40" y="{foot + 4}" text-anchor="end">0</text>',
        f'<text class="quiet" x="40" y="34" text-anchor="end">{rounded(top)}</text>',
    ]
    for index, held in enumerate(values):
        x = 56 + step * (index + 0.5)
        y = [foot - (foot - 30) * max(0.0, min(1.0, v / top)) for v in (held.low, held.value, held.high) if v == v]
        if len(y) == 3:
            parts.append(f'<line class="sure" x1="{x:.1f}" y1="{y[0]:.1f}" x2="{x:.1f}" y2="{y[2]:.1f}"/>')
        parts.append(f'<circle class="sure" cx="{x:.1f}" cy="{y[len(y) // 2]:.1f}" r="4"/>')
        if len(values) <= 16 or index % 4 == 0:
            parts.append(f'<text class="quiet" x="{x:.1f}" y="{foot + 18}" text-anchor="middle">{index}</text>')
    parts.append(f'<text class="quiet" x="{width / 2}" y="{height - 6}" text-anchor="middle">layer</text>')
    return _svg(width, height, parts, title)


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    inner = "\n".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">{inner}</svg>'
