"""How far annotators agree: with each other, with gold, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import streamlit as st

from analysis.metrics.agreement_bootstrap import Coefficients, Estimated
from analysis.people import Person
from analysis.review import Project, ReviewStore
from analysis.review.agreement import Agreement, PairAgreement
from app import review_session
from app.figures_agreement import agreement_dots, confusion_heat, drift_lines
from models.types import RATIONALE_TITLES

QUIET = {"displayModeBar": False}
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
    st.plotly_chart(agreement_dots(told.labels, titles, scale), key="agreement_plot", config=QUIET)
    rows = [
        {"label": title, **_numbers(one.ordinal if scale else one.nominal, scale)}
        for title, one in zip(titles, told.labels, strict=True)
    ]
    st.dataframe(rows, hide_index=True, key="agreement_table")
    st.caption(
        "In brackets 95 % intervals, from 1,000 draws of items; none below five items with two judgements. 1 is full "
        "agreement, 0 what chance would give. Formulas: docs/metrics.md. Below 0.8 (dotted) conclusions are tentative."
    )
    _people(told)
    if told.drift:
        st.markdown("##### Over time")
        st.plotly_chart(drift_lines(told.drift), key="drift_plot", config=QUIET)


def _people(told: Agreement) -> None:
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
    left.dataframe([_pair(pair) for pair in shown], hide_index=True, key="pair_table")
    with right:
        _confusion(shown)


def _confusion(pairs: Sequence[PairAgreement]) -> None:
    names = [f"{pair.first} · {pair.second}" for pair in pairs]
    at = st.selectbox("Who said what", range(len(pairs)), key="confusion_pair", format_func=lambda i: names[i])
    st.plotly_chart(confusion_heat(pairs[at or 0]), key="confusion_plot", config=QUIET)


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
        "items with two": one.units,
        "judgements": one.ratings,
        "same": _estimated(one.percent),
        "Fleiss' κ": _estimated(one.fleiss),
        "Krippendorff's α": _estimated(one.alpha),
        "Gwet's AC2" if scale else "Gwet's AC1": _estimated(one.ac),
    }


def _estimated(one: Estimated) -> str:
    if isnan(one.value):
        return "not defined"
    return f"{one.value:.2f}" + ("" if isnan(one.low) else f" [{one.low:.2f}, {one.high:.2f}]")


def _number(value: float) -> str:
    return "not defined" if isnan(value) else f"{value:.2f}"


def _title(label: str) -> str:
    return RATIONALE_TITLES.get(label, label)
