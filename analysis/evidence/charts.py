"""Comparisons as drawings and charts: for a report, the command line and downloads. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.evidence.comparison import Row
from analysis.evidence.layers import LayerChange
from analysis.evidence.measurements import Measurements
from analysis.evidence.pair import Judged, Pair
from analysis.evidence.verdict import rounded
from analysis.metrics.bootstrap import Estimate
from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.provenance import Model, Provenance
from analysis.pictures.shapes import Dot, Drawing, Path, Shape, Text, beside, stacked

ROW, LABEL, WIDTH, RIGHT = 26, 250, 960, 240
INTERVALS = "means over episodes with 95 % bootstrap intervals"
PAIRED = "second minus first, paired by episode"


def provenance(
    title: str, judged: Sequence[Judged], method: str, settings: Mapping[str, str], samples: str = ""
) -> Provenance:
    """Of something that was measured of one or two policies over the same steps."""
    measured = judged[0].measured
    return Provenance(
        title=title,
        data=measured_on(measured),
        method=method,
        samples=samples or f"{_many(len(measured.episodes), 'episode')}, {_many(len(measured.steps), 'step')}",
        models=tuple(Model.of(each.spec) for each in judged),
        settings=dict(settings),
        episodes=measured.episodes if len(measured.episodes) > 1 else (),
        records=tuple(dict.fromkeys(address for each in judged for address in each.measured.records)),
    )


def measured_on(measured: Measurements) -> str:
    """Data set, episodes and steps in words."""
    if not measured.steps:
        return "no step was measured"
    first = measured.steps[0].place
    of = f" of data set {first.dataset}" if first.dataset else ""
    if len(measured.episodes) > 1:
        return f"{len(measured.episodes)} episodes{of}"
    steps = ", ".join(str(step.place.step) for step in measured.steps)
    return f"Episode {first.episode} (digest {first.digest}){of}, step {steps}"


def comparison_chart(pair: Pair) -> Chart:
    """Every metric of both and their difference, and below it the layers where they were compared."""
    compared = pair.comparison
    drawing = forest(compared.rows)
    if pair.layers.layers:
        drawing = stacked(drawing, layers(pair.layers.layers))
    title = f"{pair.first.spec.name} (first) against {pair.second.spec.name} (second): every metric"
    samples = f"{_many(compared.episodes, 'episode')}, {_many(compared.paired, 'step')} that both were measured on"
    method = f"{INTERVALS}; {PAIRED}; {compared.tests}"
    about = provenance(title, (pair.first, pair.second), method, pair.settings, samples)
    by_layer = columns_of(layer_rows(pair.layers.layers))
    arrays = {f"layers {name}": _numbers(values) for name, values in by_layer.items()}
    return Chart(about, columns_of(metric_rows(compared.rows)), drawing, arrays)


def metric_rows(rows: Sequence[Row]) -> list[dict[str, object]]:
    """A line a metric."""
    return [
        {
            "metric": row.metric.title,
            "unit": row.metric.unit,
            **estimate_cells(row.first, "first "),
            **estimate_cells(row.second, "second "),
            **estimate_cells(row.difference, "difference "),
            "p": row.p,
            "corrected p": row.corrected,
            "says": row.says,
        }
        for row in rows
    ]


def layer_rows(changes: Sequence[LayerChange]) -> list[dict[str, object]]:
    return [
        {
            "layer": each.layer,
            **estimate_cells(each.cka, "CKA "),
            **estimate_cells(each.attention, "attention change "),
        }
        for each in changes
    ]


def estimate_cells(held: Estimate, name: str = "") -> dict[str, object]:
    """Value, interval and n under names that begin with ``name``."""
    return {f"{name}value": held.value, f"{name}low": held.low, f"{name}high": held.high, f"{name}n": held.n}


def forest(rows: Sequence[Row]) -> Drawing:
    """Differences, each divided by the larger of its interval's ends, so that all fit on one axis around zero."""
    shown = [row for row in rows if row.difference.has_interval]
    if not shown:
        return Drawing(WIDTH, 24, (Text(0, 16, "No metric has enough episodes for an interval."),))
    height = ROW * len(shown) + 24
    middle, half = LABEL + (WIDTH - LABEL - RIGHT) / 2, (WIDTH - LABEL - RIGHT) / 2 - 8
    shapes: list[Shape] = [Path(((middle, 4), (middle, height - 20)), "open")]
    for index, row in enumerate(shown):
        held, y = row.difference, 16 + ROW * index
        reach = max(abs(held.low), abs(held.high)) or 1.0
        low, value, high = (middle + half * x / reach for x in (held.low, held.value, held.high))
        colour = "first" if row.says in ("higher", "lower") else "open"
        text = f"{rounded(held.value)} [{rounded(held.low)}, {rounded(held.high)}]"
        shapes += [
            Text(LABEL - 10, y + 4, row.metric.title, anchor="end"),
            Path(((low, y), (high, y)), colour, 2.5),
            Dot(value, y, 4.5, colour),
            Text(WIDTH - RIGHT + 8, y + 4, text, 12, "quiet"),
        ]
    shapes.append(Text(middle, height - 4, "second lower | higher", 12, "quiet", "middle"))
    return Drawing(WIDTH, height, tuple(shapes), "Differences between the two policies with their intervals")


def layers(changes: Sequence[LayerChange]) -> Drawing:
    """CKA and attention change of each layer, with intervals."""
    left = _series([each.cka for each in changes], "CKA of the states (1: the same)", 1.0)
    most = max((each.attention.high for each in changes if each.attention.has_interval), default=math.nan)
    top = most if math.isfinite(most) and most > 0 else max(each.attention.value for each in changes) or 1.0
    right = _series([each.attention for each in changes], "Attention change (total variation)", top)
    return beside(left, right, gap=WIDTH - left.width - right.width)


def _series(values: Sequence[Estimate], title: str, top: float) -> Drawing:
    width, height, foot = 464, 190, 150
    step = (width - 70) / max(1, len(values))
    shapes: list[Shape] = [
        Text(46, 14, title),
        Path(((46, foot), (width - 10, foot)), "open"),
        Text(40, foot + 4, "0", 12, "quiet", "end"),
        Text(40, 34, rounded(top), 12, "quiet", "end"),
    ]
    for index, held in enumerate(values):
        x = 56 + step * (index + 0.5)
        y = [foot - (foot - 30) * max(0.0, min(1.0, v / top)) for v in (held.low, held.value, held.high) if v == v]
        if len(y) == 3:
            shapes.append(Path(((x, y[0]), (x, y[2])), "first", 2.5))
        if y:
            shapes.append(Dot(x, y[len(y) // 2], 4, "first"))
        if len(values) <= 16 or index % 4 == 0:
            shapes.append(Text(x, foot + 18, str(index), 12, "quiet", "middle"))
    shapes.append(Text(width / 2, height - 6, "layer", 12, "quiet", "middle"))
    return Drawing(width, height, tuple(shapes), title)


def _numbers(values: Sequence[object]) -> np.ndarray:
    return np.array(values, float)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
