"""A chart or table: the numbers, where they come from, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.pictures.drawing import shortened, width_of
from analysis.pictures.provenance import Provenance
from analysis.pictures.shapes import Drawing, Path, Shape, Text

Columns = Mapping[str, Sequence[object]]  # name -> values, all of one length
ROW, SIDE, WIDEST = 24, 10, 420  # pixels of a row's height, on both sides of a cell, of a cell's words


@dataclass(frozen=True)
class Chart:
    provenance: Provenance
    columns: Columns
    drawing: Drawing | None = None  # None: it is drawn elsewhere, here are only its numbers
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # what else belongs into an NPZ

    def __post_init__(self) -> None:
        if len({len(values) for values in self.columns.values()}) > 1:
            lengths = {name: len(values) for name, values in self.columns.items()}
            raise ValueError(f"columns of different lengths: {lengths}")


def columns_of(rows: Sequence[Mapping[str, object]]) -> Columns:
    """Rows with the same names turned into columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def table_chart(columns: Columns, provenance: Provenance, drawn: Columns | None = None) -> Chart:
    """A table drawn as one. ``drawn``: the same in fewer words, where pictures show less than the data hold."""
    return Chart(provenance, columns, table_drawing(drawn or columns, provenance.title))


def table_drawing(columns: Columns, says: str = "") -> Drawing:
    """Numbers to the right, words to the left, a line below every row."""
    shapes: list[Shape] = []
    left = 0.0
    height = ROW * (1 + max((len(values) for values in columns.values()), default=0)) + 4
    for name, values in columns.items():
        cells = [shown(value) for value in values]
        right = bool(values) and all(isinstance(value, (int, float, np.number)) or value is None for value in values)
        wide = min(WIDEST, max(width_of(text, 13, WIDEST) for text in (name, *cells)) + 2)
        edge = left + SIDE + (wide if right else 0)
        for row, text in enumerate((name, *cells)):
            words, colour = shortened(text, round(wide) + 2, 13), "quiet" if row == 0 else "ink"
            shapes.append(Text(edge, ROW * row + 17, words, 13, colour, "end" if right else "start"))
        left += wide + 2 * SIDE
    rows = range(1, round(height) // ROW + 1)
    lines = [Path(((0.0, ROW * row + 1.0), (left, ROW * row + 1.0)), "quiet" if row == 1 else "line") for row in rows]
    return Drawing(max(left, 240.0), height, (*lines, *shapes), says)


def shown(value: object) -> str:
    """As a person reads it."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return "–" if np.isnan(value) else f"{value:.4g}"
    return str(value)
