"""Boxes around things: dragged on the frame of a step, held from there on, kept in the workspace."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.evidence.drawn import DrawnBoxes, KeyBox
from analysis.metrics.coverage import Box
from analysis.types import EpisodeMeta
from app import library
from app.evidence_asked import draw_on, drawn_on
from app.figures_boxes import frame_figure
from app.plain_text import plain


def offered(dataset: str, meta: EpisodeMeta) -> None:
    """Shows what is drawn on an episode and lets a person draw more."""
    held = drawn_on(library.current(), dataset, meta)
    with st.expander("Draw boxes around things"):  # its title stays the same: with another one it would close
        _drawing(dataset, meta, held)


def _drawing(dataset: str, meta: EpisodeMeta, held: DrawnBoxes) -> None:
    st.caption(
        "For things without a mask or box in the episode. Go to a step, drag a box on the frame, name it and add it. "
        "It counts as named by the instruction from that step on, until you draw it again at a later one or say that "
        "it is out of view. Boxes are kept in the workspace, for everybody who uses it."
    )
    left, right = st.columns([1, 1.4])
    with left:
        camera = meta.cameras[0]
        if len(meta.cameras) > 1:
            camera = st.selectbox("Camera", meta.cameras, key=f"evidence_camera_{meta.id}") or camera
        step = 0
        if meta.length > 1:
            step = st.slider("Step", 0, meta.length - 1, key=f"evidence_step_{meta.id}")
        selected = _frame(dataset, meta, held, camera, step)
    with right:
        _adding(dataset, meta, held, camera, step, selected)
        _listed(dataset, meta, held)


def _frame(dataset: str, meta: EpisodeMeta, held: DrawnBoxes, camera: str, step: int) -> Box | None:
    """Draws the frame with what holds at the step; the box that was dragged on it."""
    episode = library.current().episode(dataset, meta.id)
    data, kind = episode.encoded_frame(camera, step)
    height, width = episode.frame(camera, step).shape[:2]
    event = st.plotly_chart(
        frame_figure(data, kind, width, height, held.at(camera, step)),
        key=f"evidence_frame_{meta.id}_{camera}_{step}",
        on_select="rerun",
        selection_mode="box",
        config={"displayModeBar": False},
    )
    return _selected(event)


def _adding(dataset: str, meta: EpisodeMeta, held: DrawnBoxes, camera: str, step: int, selected: Box | None) -> None:
    names = list(dict.fromkeys(key.name for key in held.keys))
    said = st.selectbox(
        "Thing",
        names,
        index=None,
        key=f"evidence_name_{meta.id}",
        accept_new_options=True,
        placeholder="A name, or one that has a box already",
    )
    name = (said or "").strip()[:60]
    edges = ", ".join(f"{value:.0f}" for value in selected) if selected is not None else ""
    st.caption(f"Selected: {edges} (left, top, right, bottom)" if edges else "Nothing is selected on the frame yet.")
    with st.container(horizontal=True):
        add = st.button(f"Add the box at step {step}", key=f"evidence_add_{meta.id}", disabled=not (selected and name))
        gone = st.button("Out of view from here on", key=f"evidence_gone_{meta.id}", disabled=name not in names)
    if add or gone:
        key = KeyBox(name, camera, step, selected if add else None)
        draw_on(library.current(), dataset, meta, held.with_key(key))
        st.rerun()


def _listed(dataset: str, meta: EpisodeMeta, held: DrawnBoxes) -> None:
    here = library.current()
    for key in held.keys:
        line, remove = st.columns([5, 1], vertical_alignment="center")
        where = f" on {key.camera}" if len(meta.cameras) > 1 else ""
        edges = "out of view" if key.box is None else ", ".join(f"{value:.0f}" for value in key.box)
        line.markdown(f"{plain(key.name)}{plain(where)}, from step {key.step}: {edges}")
        if remove.button("Remove", key=f"evidence_remove_{meta.id}_{key.name}_{key.camera}_{key.step}"):
            draw_on(here, dataset, meta, held.without(key.name, key.camera, key.step))
            st.rerun()
    if len(held.keys) > 1:
        moving = st.toggle(
            "Boxes move evenly between their steps",
            value=held.moving,
            key=f"evidence_moving_{meta.id}",
            help="Else each holds until the next one.",
        )
        if moving != held.moving:
            draw_on(here, dataset, meta, replace(held, moving=moving))
            st.rerun()


def _selected(event: object) -> Box | None:
    """Left, top, right, bottom of the box that was dragged last."""
    found = getattr(getattr(event, "selection", None), "box", None) or []
    if not found:
        return None
    x, y = sorted(found[0]["x"]), sorted(found[0]["y"])
    box = (float(x[0]), float(y[0]), float(x[-1]), float(y[-1]))
    return box if box[0] < box[2] and box[1] < box[3] else None
