"""What of a `Prediction` is no array, as JSON values and back. Pure; the file around it is `analysis.prediction_file`.

JSON has no word for NaN or infinity: such numbers become null, and null comes back as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from models.types import FrameMark, Part, PatchGrid, Prediction, Rationale, Span, TokenLayout

VERSION = 2
READABLE = (1, 2)  # version 1 knew no marks, no depth and no denoising steps


def structure(prediction: Prediction) -> dict[str, Any]:
    """Everything but the arrays."""
    rationale, layouts = prediction.rationale, _distinct_layouts(prediction)
    return {
        "version": VERSION,
        "action_names": prediction.action_names,
        "action_units": prediction.action_units,
        "token_texts": prediction.token_texts,
        "text": prediction.text,
        # asdict deep-copies, which a read-only mapping of parts does not allow
        "rationale": None if rationale is None else asdict(replace(rationale, parts=dict(rationale.parts))),
        "layouts": [stored_layout(layout) for layout in layouts],
        "attention": [
            {"layers": r.layers, "queries": r.queries, "produced": r.produced, "stream": r.stream}
            | {"layout": layouts.index(r.layout), "dtype": str(r.weights.dtype), "denoising_step": r.denoising_step}
            for r in prediction.attention
        ],
        "distribution": [
            {"token": d.token, "step": d.step, "name": d.name, "mass": finite(d.mass), "bins": len(d.values)}
            | {"dtypes": [str(d.values.dtype), str(d.probabilities.dtype)]}
            for d in prediction.action_distribution
        ],
        "marks": [asdict(mark) | {"at": [finite(value) for value in mark.at]} for mark in prediction.marks],
        "depth": [{"camera": d.camera, "box": [finite(value) for value in d.box]} for d in prediction.depth],
    }


def layouts_of(stored: Mapping[str, Any]) -> list[TokenLayout]:
    """The layouts; the prediction's own comes first."""
    return [layout_of(layout) for layout in stored["layouts"]]


def layout_of(stored: Mapping[str, Any]) -> TokenLayout:
    """What `stored_layout` wrote."""
    return TokenLayout(tuple(stored["tokens"]), tuple(_span(span) for span in stored["spans"]))


def rationale_of(stored: Mapping[str, Any]) -> Rationale | None:
    return None if stored["rationale"] is None else Rationale(**stored["rationale"])


def marks_of(stored: Mapping[str, Any]) -> tuple[FrameMark, ...]:
    return tuple(FrameMark(**(mark | {"at": numbers(mark["at"])})) for mark in stored.get("marks", ()))


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def number(stored: float | None) -> float:
    return math.nan if stored is None else stored


def numbers(stored: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(number(value) for value in stored)


def box(stored: Sequence[float | None]) -> tuple[float, float, float, float]:
    left, top, right, bottom = numbers(stored)
    return left, top, right, bottom


def _distinct_layouts(prediction: Prediction) -> list[TokenLayout]:
    """Records of one stream share a layout; each is stored once."""
    layouts = [prediction.layout]
    for record in prediction.attention:
        if record.layout not in layouts:
            layouts.append(record.layout)
    return layouts


def stored_layout(layout: TokenLayout) -> dict[str, Any]:
    spans = [asdict(span) for span in layout.spans]
    for span in spans:
        if span["grid"] is not None:
            span["grid"]["box"] = [finite(value) for value in span["grid"]["box"]]
    return {"tokens": layout.tokens, "spans": spans}


def _span(stored: Mapping[str, Any]) -> Span:
    grid = stored["grid"]
    place = None if grid is None else PatchGrid(**(grid | {"box": box(grid["box"])}))
    return Span(**{**stored, "part": Part(stored["part"]), "grid": place})
