"""The frames of a step as a Streamlit component: patches and objects are hidden by a click, boxes by dragging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from app import session
from app.player_files import BASE

FOLDER = Path(__file__).resolve().parent / "what_if"
HTML = '<div data-what-if class="what-if-frames"></div>'
KEY = "what_if_frames"


@dataclass(frozen=True)
class ShownObject:
    name: str
    box: tuple[float, float, float, float]  # pixels of the frame
    hidden: bool
    by_hand: bool = False  # a box that somebody drew: it is hidden as a box


@dataclass(frozen=True)
class ShownFrame:
    """One camera's frame."""

    camera: str  # as the policy calls it
    source: str  # the episode's camera
    width: int
    height: int
    rows: int  # of patches; 0: no single grid
    columns: int
    grid: tuple[float, float, float, float]  # what the patches cover, pixels of the frame
    patches: tuple[int, ...]  # hidden
    boxes: tuple[tuple[float, float, float, float], ...]  # hidden
    objects: tuple[ShownObject, ...]


def what_if_frames(dataset: str, episode: str, version: str, step: int, frames: Sequence[ShownFrame]) -> None:
    """Draws the frames. What is clicked is handed to `session.changed_on_frame`."""
    component = st.components.v2.component(
        "vla_lens_what_if",
        html=HTML,
        css=(FOLDER / "frames.css").read_text(encoding="utf-8"),
        js=(FOLDER / "frames.js").read_text(encoding="utf-8"),
    )
    component(
        key=KEY,
        data={
            "base": BASE,
            "dataset": dataset,
            "episode": episode,
            "version": version,
            "step": step,
            "frames": [asdict(frame) for frame in frames],
        },
        on_changed_change=lambda: session.changed_on_frame(KEY),
    )
