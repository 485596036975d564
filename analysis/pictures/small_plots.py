"""Small plots side by side, each with its own axes; a key of colours above them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from analysis.pictures.shapes import Drawing, Path, Shape, Text, beside, stacked
from analysis.pictures.step_view import WIDTH

ACROSS, GAP, LEFT, TOP, HIGH = 3, 16, 52, 22, 92  # plots in a row; pixels
COLOURS = ("#d9730d", "#0f86c4")  # of the first and the second policy: the player's


class Frame:
    """From values to pixels of one plot, which reaches from ``low`` to ``high`` and holds all ``values`` in height."""

    width, height, bottom = (WIDTH - GAP * (ACROSS - 1)) / ACROSS, TOP + HIGH + 24.0, TOP + HIGH + 0.0

    def __init__(self, low: float, high: float, values: Float[np.ndarray, " n"], from_zero: bool = False) -> None:
        self.low, self.high = low, high if high > low else low + 1
        least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        pad = max((most - least) * 0.06, abs(most) * 1e-3, 1e-6)
        self.least, self.most = 0.0 if from_zero else least - pad, most + pad

    def x(self, value: float) -> float:
        return LEFT + (value - self.low) / (self.high - self.low) * (self.width - LEFT - 4)

    def y(self, value: float) -> float:
        return TOP + (self.most - value) / (self.most - self.least) * HIGH

    def axes(self, title: str, ends: tuple[str, str]) -> list[Shape]:
        """``ends``: what stands at the left and the right end of the lower axis."""
        digits = max(0, min(4, 2 - int(np.floor(np.log10(self.most - self.least)))))
        right = self.width - 4
        return [
            Text(LEFT, 14, title, 13),
            Path(((LEFT, TOP), (LEFT, self.bottom), (right, self.bottom)), "line"),
            Text(LEFT - 6, TOP + 9, f"{self.most:.{digits}f}", 11, "quiet", "end"),
            Text(LEFT - 6, self.bottom, f"{self.least:.{digits}f}", 11, "quiet", "end"),
            Text(LEFT, self.bottom + 15, ends[0], 11, "quiet"),
            Text(right, self.bottom + 15, ends[1], 11, "quiet", "end"),
        ]

    def drawing(self, shapes: Sequence[Shape]) -> Drawing:
        return Drawing(self.width, self.height, tuple(shapes))


def small_plots(plots: Sequence[Drawing], key: Sequence[tuple[str, str]]) -> Drawing:
    """``key``: names with their colours."""
    shapes: list[Shape] = []
    x = 0.0
    for name, colour in key:
        shapes += [Path(((x, 10), (x + 22, 10)), colour, 2), Text(x + 28, 14, name, 12, "quiet")]
        x += 60 + 7 * len(name)
    rows = [beside(*plots[k : k + ACROSS], gap=GAP) for k in range(0, len(plots), ACROSS)]
    return stacked(Drawing(WIDTH, 18, tuple(shapes)), *rows)
