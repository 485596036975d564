"""Boxes around things: dragged on the first frame, or typed."""

from __future__ import annotations

import streamlit as st

from analysis.metrics.coverage import Box
from app import library, session
from app.figures_boxes import frame_figure
from app.sidebar import Chosen


def offered(chosen: Chosen) -> dict[str, Box]:
    """Name -> box in pixels of the first camera's frame, as a person drew them. They stand for the whole episode."""
    assert chosen.meta is not None and chosen.selection.dataset is not None
    held = session.drawn_boxes(chosen.meta.id)
    title = f"Boxes drawn around things: {len(held)}" if held else "Draw boxes around things"
    with st.expander(title):
        _drawing(chosen.selection.dataset, chosen.meta.id, held)
    return held


def _drawing(dataset: str, id: str, held: dict[str, Box]) -> None:
    episode = library.current().episode(dataset, id)
    camera = episode.meta.cameras[0]
    data, kind = episode.encoded_frame(camera, 0)
    height, width = episode.frame(camera, 0).shape[:2]
    st.caption(
        "For things without a mask or box in the episode. Drag a box on the first frame, name it and add it. It counts "
        "as named by the instruction, at this place, at every measured step: draw it around what does not move."
    )
    left, right = st.columns([1, 1.4])
    event = left.plotly_chart(
        frame_figure(data, kind, width, height),
        key=f"evidence_frame_{id}",
        on_select="rerun",
        selection_mode="box",
        config={"displayModeBar": False},
    )
    selected = _selected(event)
    with right:
        if selected is not None:
            st.write("Selected: " + ", ".join(f"{value:.0f}" for value in selected) + " (left, top, right, bottom)")
        name = st.text_input("Name of the thing", key=f"evidence_name_{id}", max_chars=60).strip()
        if st.button("Add the box", key=f"evidence_add_{id}", disabled=selected is None or not name) and selected:
            session.draw_box(id, name, selected)
            st.rerun()
        for known, box in held.items():
            line, remove = st.columns([4, 1], vertical_alignment="center")
            line.text(f"{known}: " + ", ".join(f"{value:.0f}" for value in box))
            if remove.button("Remove", key=f"evidence_remove_{id}_{known}"):
                session.draw_box(id, known, None)
                st.rerun()


def _selected(event: object) -> Box | None:
    """Left, top, right, bottom of the box that was dragged last."""
    found = getattr(getattr(event, "selection", None), "box", None) or []
    if not found:
        return None
    x, y = sorted(found[0]["x"]), sorted(found[0]["y"])
    return (float(x[0]), float(y[0]), float(x[-1]), float(y[-1]))
