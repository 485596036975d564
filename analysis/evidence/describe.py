"""Verdicts and comparisons as JSON values and as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analysis.evidence.comparison import Row
from analysis.evidence.faithful import Faithfulness
from analysis.evidence.inside import heads_of, lens_of
from analysis.evidence.judged_maps import JudgedMaps
from analysis.evidence.pair import Judged, Pair
from analysis.evidence.verdict import Number, Verdict, rounded, said
from analysis.metrics.bootstrap import Estimate
from models.types import CheckpointSpec


def pair_values(pair: Pair) -> dict[str, Any]:
    """Everything, as JSON holds it: numbers that are not known are null."""
    compared = pair.comparison
    return {
        "first": judged_values(pair.first),
        "second": judged_values(pair.second),
        "episodes": compared.episodes,
        "steps": compared.paired,
        "correction": compared.correction,
        "settings": pair.settings,
        "metrics": [row_values(row) for row in compared.rows],
        "differing_steps": [
            {"episode": s.place.episode, "dataset": s.place.dataset, "step": s.place.step, "distance": s.distance}
            for s in compared.steps
        ],
        "layers": [
            {"layer": each.layer, "cka": _estimate(each.cka), "attention_change": _estimate(each.attention)}
            for each in pair.layers.layers
        ],
        "layers_why_not": pair.layers.why_not,
        "weights": [
            {
                "part": group.label,
                "relative_change": _number(group.relative),
                "identical": group.identical == group.tensors,
            }
            for group in (pair.weights.groups if pair.weights else ())
        ],
        "weights_why_not": pair.weights_why_not,
    }


def judged_values(judged: Judged) -> dict[str, Any]:
    return {
        "name": judged.spec.name,
        "checkpoint": judged.spec.digest,
        "verdicts": [verdict_values(verdict) for verdict in judged.verdicts],
        "faithfulness": faithfulness_values(judged.faithful),
        "lens": [
            {"layer": each.layer, "bits_to_last": _estimate(each.to_last), "agrees": _estimate(each.agrees)}
            for each in lens_of(judged.measured)
        ],
        "heads": [
            {"layer": each.layer, "head": each.head, "camera": each.camera or None, "share": _estimate(each.share)}
            for each in heads_of(judged.measured)
        ],
        "records": list(judged.measured.records),
        "not_measured": dict(judged.measured.not_measured),
    }


def maps_values(spec: CheckpointSpec, judged: JudgedMaps) -> dict[str, Any]:
    """Every map with its badge and what it is about; rank agreement of every two."""
    maps = [
        faithfulness_values(found) | {"query": map.query, "scalar": map.scalar or None}
        for map, found in zip(judged.maps, judged.found, strict=True)
    ]
    agreement = [
        {"maps": [judged.maps[i].text, judged.maps[j].text], **_number_values(number)}
        for i, j, number in judged.agreement
    ]
    return {"name": spec.name, "checkpoint": spec.digest, "maps": maps, "agreement": agreement}


def maps_text(spec: CheckpointSpec, judged: JudgedMaps) -> str:
    """The same on one screen."""
    lines = [f"{spec.name} ({spec.digest})", ""]
    for map, found in zip(judged.maps, judged.found, strict=True):
        lines += [f"{map.text}, about {map.query}: {found.badge.value}", f"  {found.because}"]
    if judged.agreement:
        lines += ["", "Rank agreement (Spearman):"]
    for i, j, number in judged.agreement:
        lines.append(f"  {judged.maps[i].text} and {judged.maps[j].text}: {said(number)}")
    return "\n".join([*lines, "", judged.found[0].rule])


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    return {
        "question": verdict.question,
        "answer": verdict.says,
        "because": verdict.because,
        "rule": verdict.rule,
        "effect": None if verdict.effect is None else _number_values(verdict.effect),
        "p": _number(verdict.p),
        "numbers": [_number_values(number) for number in verdict.numbers],
        "unit": verdict.unit,
        "steps": verdict.steps,
    }


def faithfulness_values(found: Faithfulness) -> dict[str, Any]:
    checks = [{"name": c.name, "passed": c.passed, "p": _number(c.p), **_number_values(c.number)} for c in found.checks]
    return {
        "map": found.map,
        "badge": found.badge.value,
        "because": found.because,
        "rule": found.rule,
        "checks": checks,
        "others": [_number_values(number) for number in found.others],
    }


def row_values(row: Row) -> dict[str, Any]:
    return {
        "metric": row.metric.name,
        "title": row.metric.title,
        "unit": row.metric.unit,
        "first": _estimate(row.first),
        "second": _estimate(row.second),
        "difference": _estimate(row.difference),
        "p": _number(row.p),
        "p_corrected": _number(row.corrected),
        "says": row.says,
    }


def pair_text(pair: Pair) -> str:
    """A report of one screen."""
    compared = pair.comparison
    lines = [
        " against ".join(f"{each.spec.name} ({each.spec.digest})" for each in (pair.first, pair.second)),
        compared.found,
        f"{compared.episodes} episodes, {compared.paired} steps; intervals: 95 % bootstrap over episodes; "
        f"{compared.tests}",
        "",
        *table(("metric", "first", "second", "second - first", "p", "corrected", ""), map(_row_cells, compared.rows)),
        "",
    ]
    for judged in (pair.first, pair.second):
        lines += [f"{judged.spec.name}:", *(f"  {v.question} {v.says}. {v.because}" for v in judged.verdicts)]
        lines += [f"  Attention map: {judged.faithful.badge.value}. {judged.faithful.because}", ""]
    if pair.layers.layers:
        lines += table(
            ("layer", "CKA", "attention change"),
            ((str(each.layer), interval(each.cka), interval(each.attention)) for each in pair.layers.layers),
        )
    else:
        lines.append(f"Layers were not compared: {pair.layers.why_not}.")
    lines += ["", "Steps that differ most (mean distance of the actions by their range):"]
    lines += [f"  {rounded(s.distance)}  {s.place.episode} step {s.place.step}" for s in compared.steps]
    lines += [f"  {compared.no_step}"] if compared.no_step else []
    return "\n".join(lines)


def interval(held: Estimate) -> str:
    """Value, interval and n."""
    if math.isnan(held.value):
        return "-"
    if not held.has_interval:
        return f"{rounded(held.value)} (n = {held.n})"
    return f"{rounded(held.value)} [{rounded(held.low)}, {rounded(held.high)}] n = {held.n}"


def probability(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def table(head: Sequence[str], rows: Any) -> list[str]:
    """Columns as wide as what they hold."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _row_cells(row: Row) -> tuple[str, ...]:
    unit = f" ({row.metric.unit})" if row.metric.unit else ""
    return (
        row.metric.title + unit,
        interval(row.first),
        interval(row.second),
        interval(row.difference),
        probability(row.p),
        probability(row.corrected),
        row.says,
    )


def _number_values(number: Number) -> dict[str, Any]:
    return {"label": number.label, "unit": number.unit, **_estimate(number.estimate)}


def _estimate(held: Estimate) -> dict[str, Any]:
    low, high = _number(held.low), _number(held.high)
    return {"value": _number(held.value), "low": low, "high": high, "n": held.n, "level": held.level, "kind": held.kind}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
