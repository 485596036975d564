"""One episode and one checkpoint, step by step."""

from __future__ import annotations

from app.components.player_component import ShownCheckpoint, player
from app.sidebar import Chosen


def show(chosen: Chosen) -> None:
    """Draws the page; everything on it is the player's."""
    picked = chosen.selection
    if chosen.meta is None or picked.dataset is None:
        return
    pane = (
        ShownCheckpoint(chosen.first.digest, chosen.first.name, picked.action_stats, picked.family, picked.cameras)
        if chosen.first
        else ShownCheckpoint(None, "no checkpoint")
    )
    player(picked.dataset, chosen.meta.id, (pane,), key="trajectory_player")
