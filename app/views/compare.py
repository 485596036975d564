"""Two checkpoints on the same episode, and what differs between them."""

from __future__ import annotations

import streamlit as st

from app.components.player_component import ShownCheckpoint, player
from app.sidebar import Chosen


def show(chosen: Chosen) -> None:
    """Draws two synced panes and their difference, then which layers can differ at all."""
    if chosen.meta is None or chosen.selection.dataset is None:
        return
    if chosen.first is None or chosen.second is None:
        st.info("Comparing needs two checkpoints in the workspace. Name their folders in `workspace.toml`.")
        return
    panes = tuple(ShownCheckpoint(spec.digest, spec.name) for spec in (chosen.first, chosen.second))
    player(chosen.selection.dataset, chosen.meta.id, panes, key="compare_player")
