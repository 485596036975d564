"""The catalogue's grid as a Streamlit component: cards in, a click or a tick out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.catalogue import IndexedEpisode
from analysis.episodes import BrokenEpisode
from app import session
from app.player_files import BASE

FOLDER = Path(__file__).resolve().parent / "catalogue"
HTML = '<div data-catalogue class="catalogue"></div>'
KEY = "catalogue_grid"


def catalogue_grid(entries: Sequence[IndexedEpisode], ticked: Collection[tuple[str, str]], many_sets: bool) -> None:
    """Draws a card for each entry. A click opens its episode in the player, a tick selects it for export."""
    component = st.components.v2.component(
        "vla_lens_catalogue",
        html=HTML,
        css=(FOLDER / "grid.css").read_text(encoding="utf-8"),
        js=(FOLDER / "grid.js").read_text(encoding="utf-8"),
    )
    component(
        key=KEY,
        data={"base": BASE, "cards": [card(one, ticked, many_sets) for one in entries]},
        on_opened_change=_open,
        on_ticked_change=_tick,
    )


def card(one: IndexedEpisode, ticked: Collection[tuple[str, str]], many_sets: bool) -> dict[str, Any]:
    """What a card shows, as JSON values; ``many_sets``: its data set is named."""
    entry = one.entry
    if isinstance(entry, BrokenEpisode):
        name = Path(entry.path).name
        place = f"{name} · {one.dataset}" if many_sets else entry.path
        return {"id": name, "dataset": one.dataset, "path": entry.path, "reason": entry.reason, "place": place}
    return {
        "id": entry.id,
        "dataset": one.dataset,
        "version": entry.digest,
        "instruction": entry.instruction,
        "facts": f"{entry.length} steps · {entry.length / entry.fps:.1f} s" if entry.fps else f"{entry.length} steps",
        "success": entry.success,
        "rationale": entry.has_rationale,
        "place": f"{entry.id} · {one.dataset}" if many_sets else entry.id,
        "ticked": (one.dataset, entry.id) in ticked,
    }


def _open() -> None:
    found = session.sent(KEY, "opened")
    if found is not None:
        session.look_at(str(found["dataset"]), str(found["id"]))


def _tick() -> None:
    found = session.sent(KEY, "ticked")
    if found is not None:
        session.tick((str(found["dataset"]), str(found["id"])), bool(found["on"]))
