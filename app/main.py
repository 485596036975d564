"""The page frame: side bar and navigation. Run by Streamlit at every interaction."""

from __future__ import annotations

import sys
from pathlib import Path

# Streamlit puts this folder on the path, not the repository's root.
if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

import streamlit as st

from app import entrance, library, session, sidebar
from app.pages import PAGES, Page, drawn_by
from app.plain_text import plain
from app.sidebar import Chosen
from app.views import welcome
from models.errors import UserError

HERE = Path(__file__).resolve().parent


def main() -> None:
    st.set_page_config(page_title="VLA Lens", page_icon=str(HERE / "icon.png"), layout="wide")
    st.html(HERE / "page.css")
    later: session.Later = []
    try:
        opened = library.current()
        workspace = opened.workspace
        st.sidebar.markdown("### VLA Lens")  # at once: the side bar takes its place before the page is laid out
        if not entrance.admitted(workspace):
            return
        offered = [title for title, one in PAGES.items() if not one.for_leads or entrance.may_lead(workspace)]
        page = PAGES[session.page(offered, later)]
        if not page.with_choice:
            draw_alone(page, later)
            return
        chosen = sidebar.choose(opened, page, later)
    except UserError as error:
        st.error(str(error))
        return
    if page.needs_episode and chosen.meta is None:
        welcome.show(workspace)
    else:
        draw(page.show, chosen)
    with st.sidebar:
        for each in later:
            each()
    if page.below is not None:
        draw(page.below, chosen)


def draw(name: str, *given: Chosen) -> None:
    """What a `Page` names; where a file in the way is damaged, the sentence that says so."""
    try:
        drawn_by(name)(*given)
    except UserError as error:
        st.error(plain(str(error)))


def draw_alone(page: Page, later: session.Later) -> None:
    """A page that is not about one episode: the side bar holds the switch of pages and what the page puts there."""
    with st.sidebar:
        for each in later:
            each()
    draw(page.show)


main()
