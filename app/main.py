"""The page frame: side bar and navigation. Run by Streamlit at every interaction."""

from __future__ import annotations

import sys
from pathlib import Path

# Streamlit puts this folder on the path, not the repository's root.
if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402

from app import library, sidebar  # noqa: E402
from app.views import compare, trajectory, welcome  # noqa: E402
from models.errors import UserError  # noqa: E402

HERE = Path(__file__).resolve().parent


def main() -> None:
    st.set_page_config(page_title="VLA Lens", page_icon=str(HERE / "icon.png"), layout="wide")
    st.html(HERE / "page.css")
    pages = {
        "trajectory": st.Page(trajectory.show, title="Trajectory", icon=":material/timeline:", url_path="trajectory", default=True),
        "compare": st.Page(compare.show, title="Compare", icon=":material/compare:", url_path="compare"),
    }
    page = st.navigation(list(pages.values()), position="top")
    try:
        workspace = library.current().workspace
        with st.sidebar:
            st.markdown("### VLA Lens")
            chosen = sidebar.draw(workspace, comparing=page is pages["compare"])
    except UserError as error:
        st.error(str(error))
        return
    if chosen.meta is None:
        welcome.show(workspace)
    elif page is pages["compare"]:
        compare.show(chosen)
    else:
        trajectory.show(chosen)


main()
