"""What is shown where there is no episode to look at."""

from __future__ import annotations

import streamlit as st

from analysis.workspace import Workspace


def show(workspace: Workspace) -> None:
    """Says what the workspace lacks and how to put it there."""
    st.subheader("No episode to show yet")
    st.write("This workspace has no episode that can be opened. Its episodes are looked for here:")
    for path in workspace.episode_paths:
        st.code(str(path), language=None)
    st.write("Put episodes there, or name other folders in")
    st.code(str(workspace.path / "workspace.toml"), language=None)
    st.write("and reload this page. The format of an episode is described in `docs/episode-hdf5.md`.")
