"""The overview's action histograms, with the episodes they were made of."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.action_statistics import SAMPLE, ActionStatistics, DatasetActions
from analysis.pictures.provenance import Provenance
from app import session
from app.components import chart_export
from app.components.task_status import task_status
from app.dataset_actions import actions_of
from app.figures_dataset import action_bins, action_histograms
from app.library import Library
from app.tasks import tasks_of


def actions(library: Library, dataset: str) -> None:
    """Draws them, or how far reading the episodes is."""
    st.markdown("##### Actions")
    everything = session.reads_all(dataset)
    now = actions_of(library, dataset, None if everything else SAMPLE)
    if now.task is not None and now.actions is None:
        task_status(tasks_of(library), now.task)
        return
    if now.actions is not None:
        _found(now.actions, dataset, everything)


def _found(found: DatasetActions, dataset: str, everything: bool) -> None:
    if not found.groups:
        st.info("No episode's actions could be read.")
        _skipped(found)
        return
    group = found.groups[0]
    if len(found.groups) > 1:
        labels = {place: _label(one) for place, one in enumerate(found.groups)}
        picked = st.selectbox("Kind of action", list(labels), format_func=lambda k: labels[k], key="action_kind")
        group = found.groups[picked or 0]
    how = "all" if found.read == found.usable else f"{group.episodes:,} episodes, evenly spread over"
    steps = f"{group.steps:,} steps" + (f", every {group.steps // group.kept}th" if group.kept < group.steps else "")
    left, right = st.columns([5, 2], vertical_alignment="center")
    left.caption(f"n = {steps} of {how} {found.usable:,} episodes. Dashed: 1st and 99th percentile (q01, q99).")
    if not everything and found.read + len(found.skipped) < found.usable:
        right.button(
            f"Read all {found.usable:,}", key="read_all", on_click=session.read_all, args=(dataset,), width="stretch"
        )
    about = Provenance(
        "Actions",
        f"Data set {dataset}",
        "Histograms between the least and the greatest value; q01, q99: 1st and 99th percentile",
        f"{steps} of {how} {found.usable:,} episodes",
    )
    chart_export.chart(action_histograms(group.dimensions), action_bins(group.dimensions), about, "actions")
    with st.expander("As numbers"):
        chart_export.table(
            [_row(group, place) for place in range(len(group.dimensions))],
            replace(about, title="Statistics of the actions"),
            "action_numbers",
        )
    _skipped(found)


def _row(group: ActionStatistics, place: int) -> dict[str, str | float | int]:
    one = group.dimensions[place]
    numbers = {"q01": one.q01, "q99": one.q99, "min": one.low, "max": one.high, "mean": one.mean, "std": one.std}
    return {"name": one.name, "unit": one.unit, **numbers, "not finite": one.not_finite}


def _label(group: ActionStatistics) -> str:
    names = ", ".join(one.name for one in group.dimensions)
    return f"{len(group.dimensions)} dimensions: {names[:80]} ({group.episodes:,} episodes)"


def _skipped(found: DatasetActions) -> None:
    if found.skipped:
        with st.expander(f"{len(found.skipped)} episodes could not be read", icon=":material/warning:"):
            for entry in found.skipped:
                st.text(f"{entry.path}: {entry.reason}")
