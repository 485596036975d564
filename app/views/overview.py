"""One data set as a whole: counts, lengths, instructions, actions, what is wrong with its files, its description."""

from __future__ import annotations

import streamlit as st

from analysis.catalogue import Filter, Overview
from analysis.episodes import BrokenEpisode
from analysis.pictures.provenance import Provenance
from app import library, session
from app.components import chart_export
from app.figures_dataset import length_histogram
from app.plain_text import plain
from app.sidebar import Chosen
from app.views.overview_actions import actions
from app.views.overview_description import description

BROKEN_SHOWN = 200
KINDS_SHOWN = 20


def show(chosen: Chosen) -> None:
    """Draws the page for the data set that the side bar names."""
    dataset = chosen.selection.dataset
    opened = library.current()
    if dataset is None:
        st.info("This workspace names no data set: add folders under `episodes` in its `workspace.toml`.")
        return
    st.markdown(f"#### {plain(dataset)}")
    places = {entry.name: entry.place for entry in opened.workspace.datasets()}
    st.caption(plain(places[dataset]))
    found = opened.workspace.index.overview(Filter(datasets=(dataset,)))
    _counts(found)
    if found.episodes:
        left, right = st.columns([3, 4])
        with left:
            st.markdown("##### Lengths")
            rows = [{"steps from": one.start, "to": one.stop - 1, "episodes": one.episodes} for one in found.lengths]
            about = _about(dataset, places[dataset], found, "Episodes by their number of steps")
            chart_export.chart(length_histogram(found.lengths), rows, about, "lengths")
        with right:
            _instructions(found, _about(dataset, places[dataset], found, "Instructions by their number of episodes"))
        actions(opened, dataset)
        description(opened, dataset)
    _broken(dataset, found)


def _about(dataset: str, place: str, found: Overview, title: str) -> Provenance:
    return Provenance(
        title, f"Data set {dataset} at {place}", samples=f"{found.episodes:,} episodes that can be opened"
    )


def _counts(found: Overview) -> None:
    recorded = found.succeeded + found.failed
    values = (
        ("Episodes", f"{found.episodes:,}", "Those that can be opened."),
        ("Steps", f"{found.steps:,}", None),
        ("Duration", _duration(found.seconds), "Steps by the frame rate."),
        (
            "Succeeded",
            f"{found.succeeded:,} of {recorded:,}" if recorded else "–",
            "Of those whose outcome is recorded.",
        ),
        ("With rationale", f"{found.with_rationale:,}", None),
        ("Broken files", f"{found.broken:,}", "Listed at the end of this page."),
    )
    for column, (label, value, help) in zip(st.columns(len(values)), values, strict=True):
        column.metric(label, value, help=help)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _instructions(found: Overview, about: Provenance) -> None:
    st.markdown("##### Instructions")
    rows = [{"instruction": text or "(none)", "episodes": count} for text, count in found.instructions]
    chart_export.table(
        rows,
        about,
        "instructions",
        height=280,
        column_config={
            "instruction": st.column_config.TextColumn(width="large"),
            "episodes": st.column_config.ProgressColumn(
                format="%d", min_value=0, max_value=max(count for _, count in found.instructions), width="small"
            ),
        },
    )
    if found.distinct_instructions > len(rows):
        st.caption(f"The {len(rows)} most frequent of {found.distinct_instructions:,}")


def _broken(dataset: str, found: Overview) -> None:
    st.markdown("##### Missing and broken files")
    if not found.broken:
        st.write("None: every file of this data set can be used.")
        return
    for kind in found.broken_kinds[:KINDS_SHOWN]:
        st.text(f"{kind.episodes:,} × {kind.reason}")
    with st.expander(f"All {found.broken:,}, one by one", icon=":material/warning:"):
        page = library.current().workspace.index.query(Filter(datasets=(dataset,), broken=True), size=BROKEN_SHOWN)
        entries = [one.entry for one in page.entries if isinstance(one.entry, BrokenEpisode)]
        for entry in entries:
            st.text(f"{entry.path}\n{entry.reason}")
        if page.total > len(entries):
            st.caption(f"The first {len(entries):,}.")
    st.button("Show them in the catalogue", key="broken_there", on_click=session.list_broken, args=(dataset,))
