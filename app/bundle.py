"""One captured step as the player reads it: header length, JSON header, raw arrays. No copy is made in the browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.prediction_file import StepFile, StoredRows
from app.facts import rounded, significant
from models.errors import UserError
from models.types import DepthMap, Prediction, Span

ALIGNMENT = 4  # bytes; typed arrays in the browser start at a multiple of their item size
EXPERT = "action expert"


@dataclass(frozen=True)
class Wanted:
    """Which of a step's attention is wanted."""

    stream: str = ""  # "": what the policy wrote from: the action expert where there is one, else the language model
    denoising_step: int | None = None  # None: the last one
    layers: tuple[int, ...] | None = None  # numbers; None: all that were captured
    camera: str = ""  # of the episode, where a stream has a record for each


def encode_bundle(step: StepFile, wanted: Wanted, cameras: Mapping[str, str]) -> bytes:
    """Bytes: uint32 header length, header, then little-endian arrays at the offsets that the header names.

    ``cameras``: the policy's name of a camera -> the episode's, under which the browser knows it. Attention weights are
    float16 [L, A, Q, K], values (robot units) and probabilities of every action token float32 [B].
    """
    arrays: list[bytes] = []
    prediction = step.prediction
    header: dict[str, Any] = {
        "action": rounded(prediction.actions),
        "text": prediction.text,
        "written": prediction.written,
        "logprobs": [significant(round(float(value), 4)) for value in prediction.token_logprobs],
        "distributions": [
            _distribution(prediction, index, arrays) for index in range(len(prediction.action_distribution))
        ],
        "marks": [
            {"camera": cameras.get(mark.camera, mark.camera), "name": mark.name, "kind": mark.kind, "at": mark.at}
            for mark in prediction.marks
            if np.isfinite(mark.at).all()
        ],
        "depth": [_depth(depth, cameras) for depth in prediction.depth],
        "streams": _streams(step.rows),
    }
    rows = choose_rows(step.rows, wanted, cameras)
    header |= _rows(step, rows, wanted.layers, cameras, arrays) if rows else _no_rows(prediction, cameras)
    return packed(header, arrays)


def encode_depth(prediction: Prediction, camera: str, cameras: Mapping[str, str]) -> bytes:
    """The depth map of one of the episode's cameras, packed as a bundle is: metres, float32 [h, w]."""
    for depth in prediction.depth:
        if camera == cameras.get(depth.camera, depth.camera):
            arrays: list[bytes] = []
            header = _depth(depth, cameras) | {"metres": _stored(np.asarray(depth.metres, "<f4"), arrays)}
            return packed(header, arrays)
    raise UserError(f"the policy told no depth of the camera {camera!r} at this step")


def choose_rows(rows: Sequence[StoredRows], wanted: Wanted, cameras: Mapping[str, str]) -> StoredRows | None:
    """The record that fits best what is wanted; None where no rows were kept."""
    there = [entry for entry in rows if 0 not in entry.shape]
    written = [entry for entry in there if any(index >= 0 for index in entry.produced)]
    own = [entry for entry in written if entry.stream == EXPERT] or written or there
    found = [entry for entry in there if entry.stream == wanted.stream] or own
    found = [entry for entry in found if entry.stream == found[0].stream]
    found = [entry for entry in found if _sees(entry, wanted.camera, cameras)] or found
    return next(
        (entry for entry in found if entry.denoising_step == wanted.denoising_step), found[-1] if found else None
    )


def _sees(rows: StoredRows, camera: str, cameras: Mapping[str, str]) -> bool:
    grids = [span.grid for span in rows.layout.spans if span.grid is not None]
    return any(cameras.get(grid.camera, grid.camera) == camera for grid in grids)


def _streams(rows: Sequence[StoredRows]) -> list[dict[str, Any]]:
    """Streams that have rows, with their denoising steps."""
    there = [entry for entry in rows if 0 not in entry.shape]
    return [
        {
            "name": name,
            "denoising": sorted({e.denoising_step for e in there if e.stream == name and e.denoising_step is not None}),
        }
        for name in dict.fromkeys(entry.stream for entry in there)
    ]


def _distribution(prediction: Prediction, index: int, arrays: list[bytes]) -> dict[str, Any]:
    entry = prediction.action_distribution[index]
    chosen = prediction.actions[entry.step][prediction.action_names.index(entry.name)]
    return {
        "token": entry.token,
        "step": entry.step,
        "name": entry.name,
        "mass": significant(entry.mass),
        "chosen": significant(chosen),
        "values": _stored(np.asarray(entry.values, "<f4"), arrays),
        "probabilities": _stored(np.asarray(entry.probabilities, "<f4"), arrays),
    }


def _depth(depth: DepthMap, cameras: Mapping[str, str]) -> dict[str, Any]:
    known = depth.metres[np.isfinite(depth.metres)]
    nearest, farthest = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    camera = cameras.get(depth.camera, depth.camera)
    return {"camera": camera, "box": depth.box, "nearest": significant(nearest), "farthest": significant(farthest)}


def _rows(
    step: StepFile, rows: StoredRows, layers: tuple[int, ...] | None, cameras: Mapping[str, str], arrays: list[bytes]
) -> dict[str, Any]:
    kept = [number for number in rows.layers if layers is None or number in layers]
    return {
        "stream": rows.stream,
        "denoising_step": rows.denoising_step,
        "captured": list(rows.layers),
        "layers": kept,
        "queries": list(rows.queries),
        "produced": list(rows.produced),
        "tokens": list(rows.layout.tokens),
        "spans": [_span(span, cameras) for span in rows.layout.spans],
        "weights": _stored(step.weights(rows, kept).astype("<f2"), arrays),
    }


def _no_rows(prediction: Prediction, cameras: Mapping[str, str]) -> dict[str, Any]:
    """Tokens without rows: the words can be read, nothing can be asked about them."""
    layout = prediction.layout
    return {
        "stream": "",
        "denoising_step": None,
        "captured": [],
        "layers": [],
        "queries": [],
        "produced": [],
        "tokens": list(layout.tokens),
        "spans": [_span(span, cameras) for span in layout.spans],
        "weights": None,
    }


def _span(span: Span, cameras: Mapping[str, str]) -> dict[str, Any]:
    grid = span.grid
    place = None
    # A grid that does not count the span's tokens cannot be drawn; the player says so.
    if grid is not None and grid.rows * grid.columns == span.stop - span.start and np.isfinite(grid.box).all():
        camera = cameras.get(grid.camera, grid.camera)
        place = {"camera": camera, "rows": grid.rows, "columns": grid.columns, "box": grid.box}
    return {"part": span.part.value, "name": span.name, "start": span.start, "stop": span.stop, "grid": place}


def _stored(array: np.ndarray, arrays: list[bytes]) -> dict[str, Any]:
    """Appends an array, padded, and says where it starts (bytes after the header) and what shape it has."""
    offset = sum(map(len, arrays))
    raw = np.ascontiguousarray(array).tobytes()
    arrays.append(raw + b"\0" * (-len(raw) % ALIGNMENT))
    return {"offset": offset, "shape": list(array.shape)}


def packed(header: dict[str, Any], arrays: list[bytes]) -> bytes:
    """Header length, header, arrays."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(4, "little") + text + b"".join(arrays)
