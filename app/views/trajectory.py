"""One episode and one checkpoint, step by step."""

from __future__ import annotations

from app.components.player_component import ShownCheckpoint, player
from app.sidebar import Chosen


def show(chosen: Chosen) -> None:
    """Draws the page; everything on it is the player's."""
    if chosen.meta is None or chosen.selection.dataset is None:
        return
    pane = (
        ShownCheckpoint(chosen.first.digest, chosen.first.name, chosen.selection.action_stats)
        if chosen.first
        else ShownCheckpoint(None, "no checkpoint")
    )
    player(chosen.selection.dataset, chosen.meta.id, (pane,), key="trajectory_player")
