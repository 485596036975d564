"""The side bar's part about the episode: searched, narrowed and chosen from the index, a page of it at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from analysis.catalogue import Filter, Page
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta
from analysis.workspace import Workspace
from app import list_controls, session
from app.episode_list import EpisodeList
from app.index_updates import IndexStatus, IndexUpdates, updates_of
from app.library import Library
from app.plain_text import plain
from app.selection import episode_label
from app.session import Later
from models.errors import UserError

SIZE = 48  # episodes in the select box
BROKEN_SHOWN = 20
FIRST_SECONDS = 2.0  # waited for a data set that was never listed before
GLANCE_SECONDS = 0.05  # waited for a look at the files of a known one
AGAIN_SECONDS = 1.0
REFRESH_SECONDS = 4.0  # between two pictures of a list that grows


@dataclass(frozen=True)
class Offered:
    """What the index has for the side bar."""

    shown: EpisodeList
    page: Page  # of the usable ones
    all_usable: int
    broken: Page
    splits: tuple[str, ...]  # names


def choose_episode(
    library: Library, dataset: str, wish: str | None, later: Later, controls: bool = True
) -> EpisodeMeta | None:
    """The chosen episode; ``later`` gets what draws the choice. ``controls``: with the fields that narrow the list."""
    workspace = library.workspace
    updates = updates_of(library)
    status = _fresh(updates, workspace, dataset)
    offered = _offered(workspace, dataset)
    metas = {one.entry.id: one.entry for one in offered.page.entries if isinstance(one.entry, EpisodeMeta)}
    asked, by_link = session.asked_for("episode", wish)
    if asked is not None and asked not in metas and (meta := _beyond(library, dataset, asked, by_link)) is not None:
        metas = {asked: meta, **metas}  # what is looked at stays, also when the list is narrowed
    if not metas and offered.all_usable:
        metas = _first(workspace, dataset)
    many = offered.all_usable > SIZE or offered.shown.narrowed
    if controls and many:
        later.append(lambda: _controls(offered))
    picked = session.pick("episode", "Episode", wish, list(metas), lambda id: episode_label(metas[id]), later)
    if controls and many:
        later.append(lambda: list_controls.pager(offered.shown, offered.page.total, SIZE, "side"))
    meta = metas.get(picked) if picked else None
    if meta is not None:
        later.append(lambda: st.caption(_facts(meta)))
    later.append(lambda: _broken(offered.broken, status))
    if status.running:
        later.append(lambda: watch(updates, time.monotonic(), refresh=meta is None or not controls))
    return meta


def _fresh(updates: IndexUpdates, workspace: Workspace, dataset: str) -> IndexStatus:
    """Looks whether files changed; waits a little, longer where nothing is known yet."""
    updates.look()
    if not updates.wait(GLANCE_SECONDS):
        state = workspace.index.states().get(dataset)
        if state is None or not state.complete:
            updates.wait(FIRST_SECONDS)
    status = updates.status
    if status.error:
        raise UserError(status.error)
    return status


def _offered(workspace: Workspace, dataset: str) -> Offered:
    index, names = workspace.index, [entry.name for entry in workspace.datasets()]
    shown = session.listed(names)
    own = shown.within(dataset)
    page = index.query(own.filter, own.order, own.page, SIZE)
    if not page.entries and page.total:  # the link's page is beyond the last one
        shown = replace(shown, page=(page.total - 1) // SIZE)
        page = index.query(own.filter, own.order, shown.page, SIZE)
    usable = Filter(datasets=(dataset,), broken=False)
    total = page.total if own.filter == usable else index.query(usable, size=0).total
    broken = index.query(Filter(datasets=(dataset,), broken=True), size=BROKEN_SHOWN)
    return Offered(shown, page, total, broken, index.splits((dataset,)))


def _beyond(library: Library, dataset: str, id: str, by_link: bool) -> EpisodeMeta | None:
    """An episode that is not on the page; one that a link names may even be newer than the index."""
    for one in library.workspace.index.find(id, dataset):
        if isinstance(one.entry, EpisodeMeta):
            return one.entry
    if by_link:
        try:
            return library.episode(dataset, id).meta
        except UserError:  # the select box says that it is not here
            return None
    return None


def _first(workspace: Workspace, dataset: str) -> dict[str, EpisodeMeta]:
    found = workspace.index.query(Filter(datasets=(dataset,), broken=False), size=1).entries
    return {one.entry.id: one.entry for one in found if isinstance(one.entry, EpisodeMeta)}


def _controls(offered: Offered) -> None:
    shown = offered.shown
    list_controls.search(shown)
    with st.popover("Filter and sort", width="stretch", icon=":material/tune:"):
        list_controls.success(shown)
        list_controls.rationale(shown)
        if list_controls.can_split(shown, offered.splits):
            list_controls.split(shown, offered.splits)
        list_controls.lengths(shown)
        list_controls.order(shown)
    if shown.narrowed:
        left, right = st.columns([3, 2], vertical_alignment="center")
        left.caption(f"{offered.page.total:,} of {offered.all_usable:,} episodes")
        right.button("Show all", key="widen_side", on_click=session.widen_list, type="tertiary")
    else:
        st.caption(f"{offered.all_usable:,} episodes")


def _facts(meta: EpisodeMeta) -> str:
    parts = [f"{meta.length} steps at {meta.fps:g} fps", ", ".join(meta.cameras)]
    if meta.robot:
        parts.append(meta.robot)
    return plain(" · ".join(parts))


def _broken(broken: Page, status: IndexStatus) -> None:
    entries = [one.entry for one in broken.entries if isinstance(one.entry, BrokenEpisode)]
    total = broken.total + len(status.problems)
    if not total:
        return
    plural = "episode" if total == 1 else "episodes"
    with st.expander(f"{total:,} {plural} cannot be used", icon=":material/warning:"):
        for entry in [*status.problems, *entries]:
            st.text(f"{Path(entry.path).name}: {entry.reason}")
        if total > len(entries) + len(status.problems):
            st.caption("The page Catalogue lists all of them.")


@st.fragment(run_every=AGAIN_SECONDS)
def watch(updates: IndexUpdates, drawn: float, refresh: bool) -> None:
    """Says how far the index is and draws the page anew when it is whole; with ``refresh`` also in between.

    ``drawn``: time.monotonic() when the page was; it is never drawn anew at once.
    """
    status, passed = updates.status, time.monotonic() - drawn
    if passed > AGAIN_SECONDS / 2 and (not status.running or (refresh and passed > REFRESH_SECONDS)):
        st.rerun()
    said = status.progress
    if said is None:
        return
    if said.total:
        megabytes = f"{said.done / 1e6:,.0f} of {said.total / 1e6:,.0f} MB"
        st.progress(min(1.0, said.done / said.total), text=f"Reads {plain(said.what)}: {megabytes}")
    else:
        st.caption(f"Looks through {plain(said.what)}: {said.done:,} episodes so far")
