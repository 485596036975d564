"""How far annotators agree: with each other, with gold, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

import streamlit as st

from analysis.metrics.agreement_bootstrap import Coefficients, Estimated
from analysis.people import Person
from analysis.pictures.provenance import Provenance
from analysis.review import Project, ReviewStore
from analysis.review.agreement import Agreement, DriftPoint, PairAgreement
from app import review_session
from app.components import chart_export
from app.figures_agreement import agreement_dots, confusion_heat, drift_lines
from models.types import RATIONALE_TITLES

COEFFICIENTS = "95 % bootstrap intervals from 1,000 draws of whole items; 1: full agreement, 0: what chance would give"
PAIRS = "Share of equal verdicts with its 95 % Wilson interval; Cohen's kappa, plain and with linear weights"
NOMINAL, SCALE = "each verdict by itself", "as a scale: near misses count in part"


def show(store: ReviewStore, project: Project, person: Person) -> None:
    """Tables and plots; intervals are 95 % bootstrap intervals over items, of shares Wilson's."""
    reviews = store.reviews(project.id)
    if not reviews:
        st.info("Nobody has judged anything yet.")
        return
    told = review_session.agreement(reviews, project, store.gold(project.id))
    kind = st.segmented_control(
        "Verdicts", (NOMINAL, SCALE), default=NOMINAL, key="agreement_kind", label_visibility="collapsed"
    )
    scale = kind == SCALE
    titles = [_title(one.label) for one in told.labels]
    about = Provenance(
        "Agreement of the annotators",
        f"Review project {project.settings.name} (id {project.id}, version {project.version})",
        COEFFICIENTS,
        f"{len(reviews)} reviews of {len({review.item for review in reviews})} items",
        settings={"verdicts": NOMINAL if kind is None else kind},
    )
    chosen = [one.ordinal if scale else one.nominal for one in told.labels]
    rows = [{"label": title, **_numbers(one, scale)} for title, one in zip(titles, chosen, strict=True)]
    numbers = [{"label": title, **_values(one, scale)} for title, one in zip(titles, chosen, strict=True)]
    chart_export.chart(agreement_dots(told.labels, titles, scale), numbers, about, "agreement_plot")
    chart_export.table(rows, about, "agreement_table", numbers)
    if scale and not all(one.one_scale for one in told.labels):
        st.caption("All parts together are no scale here: some parts have other verdicts than the rest.")
    st.caption(
        "In brackets 95 % intervals, from 1,000 draws of whole items; none below five items with two judgements. 1 is "
        "full agreement, 0 what chance would give. Formulas: docs/metrics.md. Below 0.8 (dotted) conclusions are "
        "tentative."
    )
    _people(told, about)
    if told.drift:
        st.markdown("##### Over time")
        over = replace(
            about, title="Agreement over time", method="Same overall verdict, by stretches of reviews; " + PAIRS
        )
        chart_export.chart(drift_lines(told.drift), [_plain(point) for point in told.drift], over, "drift_plot")


def _people(told: Agreement, about: Provenance) -> None:
    st.markdown("##### Annotators")
    groups = {"against the others": told.annotators, "in pairs": told.pairs, "against gold": told.gold}
    there = [name for name, pairs in groups.items() if any(pair.units for pair in pairs)]
    if not there:
        st.info("No item has two judgements yet, and no gold item was judged.")
        return
    picked = st.segmented_control("Compared", there, default=there[0], key="agreement_group", required=True)
    pairs = [pair for pair in groups[picked or there[0]] if pair.units]
    labels = list(dict.fromkeys(pair.label for pair in pairs))
    label = st.selectbox("Label", labels, key="agreement_label", format_func=_title, width=280)
    shown = [pair for pair in pairs if pair.label == label]
    left, right = st.columns([3, 2])
    about = replace(about, title=f"Annotators {picked or there[0]}: {_title(label)}", method=PAIRS)
    with left:
        chart_export.table([_pair(p) for p in shown], about, "pair_table", [_plain(p) for p in shown])
    with right:
        _confusion(shown, about)


def _confusion(pairs: Sequence[PairAgreement], about: Provenance) -> None:
    names = [f"{pair.first} · {pair.second}" for pair in pairs]
    at = st.selectbox("Who said what", range(len(pairs)), key="confusion_pair", format_func=lambda i: names[i])
    pair = pairs[at or 0]
    rows = [
        {"first says": one, "second says": other, "items": int(pair.table[row, column])}
        for row, one in enumerate(pair.categories)
        for column, other in enumerate(pair.categories)
    ]
    title = f"Who said what: {names[at or 0]}, {_title(pair.label)}"
    about = replace(about, title=title, method="Counts of items", samples=f"{pair.units} items")
    chart_export.chart(confusion_heat(pair), rows, about, "confusion_plot")


def _plain(one: PairAgreement | DriftPoint) -> dict[str, object]:
    """Its numbers under their own names."""
    return {name: value for name, value in vars(one).items() if name not in ("categories", "table")}


def _pair(pair: PairAgreement) -> dict[str, object]:
    return {
        "annotator": pair.first,
        "with": pair.second,
        "compared": pair.units,
        "same": f"{pair.percent:.0%} [{pair.low:.0%}, {pair.high:.0%}]",
        "Cohen's κ": _number(pair.kappa),
        "weighted κ": _number(pair.weighted_kappa),
    }


def _numbers(one: Coefficients, scale: bool) -> dict[str, object]:
    return {
        "items with two": one.clusters,
        "judgements": one.ratings,
        "same": _estimated(one.percent),
        "Fleiss' κ": _estimated(one.fleiss),
        "Krippendorff's α": _estimated(one.alpha),
        "Gwet's AC2" if scale else "Gwet's AC1": _estimated(one.ac),
    }


def _values(one: Coefficients, scale: bool) -> dict[str, object]:
    found = {"same": one.percent, "Fleiss": one.fleiss, "Krippendorff": one.alpha, "AC2" if scale else "AC1": one.ac}
    cells = {f"{name} {end}": getattr(each, end) for name, each in found.items() for end in ("value", "low", "high")}
    return {"items with two": one.clusters, "judgements": one.ratings, **cells}


def _estimated(one: Estimated) -> str:
    if isnan(one.value):
        return "not defined"
    return f"{one.value:.2f}" + ("" if isnan(one.low) else f" [{one.low:.2f}, {one.high:.2f}]")


def _number(value: float) -> str:
    return "not defined" if isnan(value) else f"{value:.2f}"


def _title(label: str) -> str:
    shown = label.encode("utf-8", "backslashreplace").decode()  # no page can be sent half a sign (a lone surrogate)
    return RATIONALE_TITLES.get(label, shown)
