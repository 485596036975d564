"""What is drawn: frames side by side, each with maps laid over it, and the words below. Nothing here draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Overlay:
    """Values of one run of patches and where they lie on the frame."""

    values: Float[np.ndarray, "R C"]
    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the frame


@dataclass(frozen=True)
class Mark:
    """A place on the frame with a name."""

    name: str
    at: tuple[float, ...]  # pixels of the frame: left, top, right, bottom of a box; x, y of a point
    colour: str = ""  # such as #56b4e9; "": what the policy wrote about, black on white


@dataclass(frozen=True)
class Panel:
    """One frame."""

    title: str
    frame: UInt8[np.ndarray, "H W 3"]
    overlays: tuple[Overlay, ...] = ()
    full: float = 0.0  # the value that is drawn in full colour
    signed: bool = False  # values below zero mean something: the map of differences, symmetric about zero
    unit: str = "share"  # "share": numbers are shown in percent; else as they are
    grey: bool = False  # the frame without its colours, so that those of the map stand out
    why: str = ""  # why there is no map
    marks: tuple[Mark, ...] = ()

    def map(self, colours: str) -> str:
        """The colour map that it is drawn with, where others are drawn with ``colours``."""
        return "difference" if self.signed else colours


@dataclass(frozen=True)
class Figure:
    """Panels of one step, the caption, and the numbers behind them."""

    panels: tuple[Panel, ...]
    caption: tuple[str, ...]  # paragraphs
    colours: str = "viridis"
    opacity: float = 0.75
    smooth: bool = True
    facts: Mapping[str, object] = field(default_factory=dict)  # the same as the caption, for programs; JSON values
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # what else belongs into the data: rows, tokens
