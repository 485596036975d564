"""The page frame: side bar and navigation. Run by Streamlit at every interaction."""

from __future__ import annotations

import sys
from pathlib import Path

# Streamlit puts this folder on the path, not the repository's root.
if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

import streamlit as st

from app import library, session, sidebar
from app.views import compare, trajectory, welcome
from models.errors import UserError

HERE = Path(__file__).resolve().parent
# Pages are chosen by a parameter, not by path: at /compare Streamlit's browser side first looks for its server there
# and leaves two errors in the console.
PAGES = {"Trajectory": trajectory.show, "Compare": compare.show}
BELOW = {"Compare": compare.weights}  # takes its time, so it comes after the side bar


def main() -> None:
    st.set_page_config(page_title="VLA Lens", page_icon=str(HERE / "icon.png"), layout="wide")
    st.html(HERE / "page.css")
    later: session.Later = []
    try:
        workspace = library.current().workspace
        st.sidebar.markdown("### VLA Lens")  # at once: the side bar takes its place before the page is laid out
        page = session.page(PAGES, later)
        chosen = sidebar.choose(workspace, page == "Compare", later)
    except UserError as error:
        st.error(str(error))
        return
    if chosen.meta is None:
        welcome.show(workspace)
    else:
        PAGES[page](chosen)
    with st.sidebar:
        for draw in later:
            draw()
    if page in BELOW:
        BELOW[page](chosen)


main()
