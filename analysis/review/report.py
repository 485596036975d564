"""Progress and agreement as text for a terminal, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isnan
from typing import Any

import numpy as np

from analysis.metrics.agreement_bootstrap import Coefficients, Estimated
from analysis.review.agreement import Agreement, PairAgreement
from analysis.review.item import Progress


def progress_text(told: Progress) -> str:
    lines = [
        f"{told.reviews} of {told.wanted} reviews; {told.done} of {told.items} rationales done, {told.begun} begun, "
        f"{told.leased} places held now",
        f"{told.conflicts} open conflicts, {told.adjudicated} adjudicated, {told.gold} gold",
    ]
    for one in told.annotators:
        took = "" if one.seconds is None else f", {one.seconds:.0f} s each"
        lines.append(
            f"  {one.annotator}: {one.reviews} reviews (accept {one.accepted}, correct {one.corrected}, reject "
            f"{one.rejected}, unsure {one.unsure}){took}; {one.leased} held, {one.drafts} drafts"
        )
    return "\n".join(lines)


def agreement_text(told: Agreement) -> str:
    lines = ["label: agreement, Fleiss' kappa, Krippendorff's alpha, Gwet's AC1; 95 % intervals in brackets"]
    for one in told.labels:
        lines.append(f"  {one.label}: {_coefficients(one.nominal)}")
        scale = _coefficients(one.ordinal) if one.one_scale else "none: the parts have different verdicts"
        lines.append(f"    as a scale (linear weights; AC2): {scale}")
    for title, pairs in (("pairs", told.pairs), ("against the others", told.annotators), ("against gold", told.gold)):
        lines += [f"{title}: agreement, Cohen's kappa, weighted kappa"] if pairs else []
        lines += [_pair(one) for one in pairs]
    lines += ["drift: overall verdicts that agree"] if told.drift else []
    for point in told.drift:
        share = f"{point.agreed:.2f} [{point.low:.2f}, {point.high:.2f}] of {point.compared}"
        lines.append(f"  {point.annotator} with {point.against}, {point.start:%Y-%m-%d %H:%M} on: {share}")
    return "\n".join(lines)


def agreement_json(told: Agreement) -> dict[str, Any]:
    """NaN as null, tables as lists, times as ISO text."""
    values: dict[str, Any] = json.loads(json.dumps(_plain(asdict(told)), default=str))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if isinstance(value, float) and isnan(value) else value


def _coefficients(one: Coefficients) -> str:
    values = ", ".join(_estimated(given) for given in (one.percent, one.fleiss, one.alpha, one.ac))
    return f"{values}; {one.clusters} items with two or more, {one.ratings} ratings"


def _estimated(one: Estimated) -> str:
    if isnan(one.value):
        return "not defined"
    return f"{one.value:.3f}" + ("" if isnan(one.low) else f" [{one.low:.3f}, {one.high:.3f}]")


def _pair(one: PairAgreement) -> str:
    if not one.units:
        return f"  {one.first} and {one.second}, {one.label}: nothing in common"
    kappas = ", ".join("not defined" if isnan(value) else f"{value:.3f}" for value in (one.kappa, one.weighted_kappa))
    share = f"{one.percent:.3f} [{one.low:.3f}, {one.high:.3f}]"
    return f"  {one.first} and {one.second}, {one.label}: {share}, {kappas}; {one.units} compared"
