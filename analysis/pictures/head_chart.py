"""Layers by heads, shaded by how much of the query's row falls on the image: the player's matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.drawing import number
from analysis.pictures.panels import Shown, shown_camera
from analysis.pictures.rows import HeadShares, head_shares
from analysis.pictures.shapes import Box, Drawing, Shape, Text, mixed, stacked
from analysis.pictures.step_view import STRONGEST, headed, nothing, step_provenance
from analysis.pictures.view import View
from analysis.types import EpisodeMeta
from models.errors import UserError

LEFT, TOP, CELL, ROW = 70, 22, 34, 24  # pixels


def head_chart(meta: EpisodeMeta, step: int, shown: Sequence[Shown], view: View) -> Chart:
    """Of one policy or two, one below the other. A head that the view draws by itself is framed."""
    drawings, rows, said = [], [], ""
    for who in shown:
        try:
            found = _found(who, view, meta, shown)
        except UserError as error:
            drawings.append(headed(who.name, nothing(str(error)), len(shown) > 1))
            continue
        said = said or found.words
        drawings.append(headed(who.name, matrix(found), len(shown) > 1))
        rows += _rows(who, found)
    method = f"Share of each head's row on the image; {said}" if said else "Share of each head's row on the image"
    about = step_provenance("Heads by layer", meta, step, shown, view, method, f"{len(rows)} heads")
    return Chart(about, columns_of(rows), stacked(*drawings) if drawings else nothing("No policy was chosen."))


def matrix(found: HeadShares) -> Drawing:
    """A cell a head; numbers are per cent."""
    top = float(found.shares.max()) or 1.0
    heads = found.shares.shape[1]
    shapes: list[Shape] = [Text(0, 15, "layer", 12, "quiet")]
    shapes += [Text(LEFT + (head + 0.5) * CELL, 15, f"h{head}", 12, "quiet", "middle") for head in range(heads)]
    for place, layer in enumerate(found.layers):
        y = TOP + place * ROW
        shapes.append(Text(LEFT - 12, y + 16, str(layer), 12, "quiet", "end"))
        for head in range(heads):
            share, x = float(found.shares[place, head]), LEFT + head * CELL
            outline = "ink" if (layer, head) in found.chosen else "line"
            shapes.append(Box(x + 1, y + 1, CELL - 2, ROW - 2, mixed("first", STRONGEST * share / top), outline))
            shapes.append(Text(x + CELL / 2, y + 16, f"{100 * share:.0f}", 11, "ink", "middle"))
    foot = TOP + len(found.layers) * ROW + 20
    strongest = number(float(np.max(found.shares)), "share")
    shapes.append(Text(0, foot, f"Per cent of the row; the strongest has {strongest}. Framed: drawn.", 12, "quiet"))
    return Drawing(max(LEFT + heads * CELL, 420.0), foot + 6, tuple(shapes), "Layers by heads")


def _found(who: Shown, view: View, meta: EpisodeMeta, shown: Sequence[Shown]) -> HeadShares:
    if who.prediction is None:
        raise UserError("a map of another method has no heads" if who.attribution else "this step has not been run yet")
    return head_shares(who.prediction, who.own(view, shown_camera(meta, shown, view)))


def _rows(who: Shown, found: HeadShares) -> list[dict[str, object]]:
    return [
        {
            "model": who.name,
            "layer": layer,
            "head": head,
            "share on the image": float(found.shares[place, head]),
            "drawn": (layer, head) in found.chosen,
        }
        for place, layer in enumerate(found.layers)
        for head in range(found.shares.shape[1])
    ]
