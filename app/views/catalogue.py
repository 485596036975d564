"""All episodes of all data sets: searched, narrowed, sorted, opened with a click, exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from analysis.workspace import Workspace
from app import library, list_controls, session
from app.components.catalogue_grid import catalogue_grid
from app.episode_choice import SIZE
from app.episode_list import EpisodeList
from app.plain_text import plain
from app.sidebar import Chosen
from app.views.catalogue_export import export, export_status


def show(chosen: Chosen) -> None:
    """Draws the page; its filters are those of the link."""
    opened = library.current()
    workspace = opened.workspace
    names = [entry.name for entry in workspace.datasets()]
    shown = session.listed(names)
    for sentence in session.list_unmet():
        st.warning(plain(sentence))
    _controls(shown, names, workspace.index.splits(shown.filter.datasets))
    page = workspace.index.query(shown.filter, shown.order, shown.page, SIZE)
    if not page.entries and page.total:  # the link's page is beyond the last one
        shown = replace(shown, page=(page.total - 1) // SIZE)
        page = workspace.index.query(shown.filter, shown.order, shown.page, SIZE)
    _summary(workspace, shown, page.total)
    export_status()
    if not page.entries:
        st.info(_nothing(workspace, shown))
        return
    catalogue_grid(page.entries, session.ticked(), len(names) > 1)
    list_controls.pager(shown, page.total, SIZE, "catalogue")


def _controls(shown: EpisodeList, names: list[str], splits: Sequence[str]) -> None:
    first = st.columns([4, 2, 3] if len(names) > 1 else [4, 2])
    with first[0]:
        list_controls.search(shown)
    with first[1]:
        list_controls.order(shown)
    if len(names) > 1:
        with first[2]:
            list_controls.datasets(shown, names)
    draws: list[Callable[[EpisodeList], None]] = [
        list_controls.success,
        list_controls.rationale,
        list_controls.usable,
        list_controls.lengths,
    ]
    if list_controls.can_split(shown, splits):
        draws.insert(2, partial(list_controls.split, names=splits))
    for column, draw in zip(st.columns([*[2] * (len(draws) - 1), 3]), draws, strict=True):
        with column:
            draw(shown)


def _summary(workspace: Workspace, shown: EpisodeList, total: int) -> None:
    everything = workspace.index.query(size=0).total if shown.narrowed else total
    left, middle, right = st.columns([5, 2, 2], vertical_alignment="center")
    of = f" of {everything:,}" if shown.narrowed else ""
    left.markdown(f"**{total:,}**{of} {'entry' if everything == 1 else 'entries'}")
    if shown.narrowed:
        middle.button("Clear filters", key="widen_catalogue", on_click=session.widen_list, width="stretch")
    with right:
        export(workspace, shown, total)


def _nothing(workspace: Workspace, shown: EpisodeList) -> str:
    if shown.narrowed:
        return "No episode passes these filters."
    if not workspace.datasets():
        return "This workspace names no data set: add folders under `episodes` in its `workspace.toml`."
    return "No episode has been found in this workspace's data sets so far."
