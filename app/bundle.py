"""One captured step as the player reads it: header length, JSON header, raw arrays. No copy is made in the browser."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from models.types import AttentionRecord, Prediction, Span

ALIGNMENT = 4  # bytes; typed arrays in the browser start at a multiple of their item size
LANGUAGE = "language"


def encode_bundle(prediction: Prediction, layers: tuple[int, ...] | None = None) -> bytes:
    """Bytes: uint32 header length, header, then little-endian arrays at the offsets that the header names.

    ``layers``: numbers of the layers whose rows are wanted; None means all that were captured. Attention weights are
    float16 [L, A, Q, K], values (robot units) and probabilities of every action token float32 [B].
    """
    arrays: list[bytes] = []
    record = next((entry for entry in prediction.attention if entry.stream == LANGUAGE), None)
    header: dict[str, Any] = {
        "action": prediction.actions.tolist(),
        "text": prediction.text,
        "logprobs": [round(float(value), 4) for value in prediction.token_logprobs],
        "distributions": [
            _distribution(prediction, index, arrays) for index in range(len(prediction.action_distribution))
        ],
    }
    header |= _rows(record, layers, arrays) if record is not None else _no_rows(prediction)
    return _packed(header, arrays)


def _distribution(prediction: Prediction, index: int, arrays: list[bytes]) -> dict[str, Any]:
    entry = prediction.action_distribution[index]
    chosen = prediction.actions[entry.step][prediction.action_names.index(entry.name)]
    return {
        "token": entry.token,
        "step": entry.step,
        "name": entry.name,
        "mass": float(entry.mass),
        "chosen": float(chosen),
        "values": _stored(np.asarray(entry.values, "<f4"), arrays),
        "probabilities": _stored(np.asarray(entry.probabilities, "<f4"), arrays),
    }


def _rows(record: AttentionRecord, layers: tuple[int, ...] | None, arrays: list[bytes]) -> dict[str, Any]:
    kept = [i for i, number in enumerate(record.layers) if layers is None or number in layers]
    weights = record.weights if len(kept) == len(record.layers) else record.weights[kept]
    return {
        "captured": list(record.layers),
        "layers": [record.layers[i] for i in kept],
        "queries": list(record.queries),
        "produced": list(record.produced),
        "tokens": list(record.layout.tokens),
        "spans": [_span(span) for span in record.layout.spans],
        "weights": _stored(weights.astype("<f2"), arrays),
    }


def _no_rows(prediction: Prediction) -> dict[str, Any]:
    """Tokens without rows: the words can be read, nothing can be asked about them."""
    layout = prediction.layout
    return {
        "captured": [],
        "layers": [],
        "queries": [],
        "produced": [],
        "tokens": list(layout.tokens),
        "spans": [_span(span) for span in layout.spans],
        "weights": None,
    }


def _span(span: Span) -> dict[str, Any]:
    grid = span.grid
    box = None if grid is None else {"camera": grid.camera, "rows": grid.rows, "columns": grid.columns, "box": grid.box}
    return {"part": span.part.value, "name": span.name, "start": span.start, "stop": span.stop, "grid": box}


def _stored(array: np.ndarray, arrays: list[bytes]) -> dict[str, Any]:
    """Appends an array, padded, and says where it starts (bytes after the header) and what shape it has."""
    offset = sum(map(len, arrays))
    raw = np.ascontiguousarray(array).tobytes()
    arrays.append(raw + b"\0" * (-len(raw) % ALIGNMENT))
    return {"offset": offset, "shape": list(array.shape)}


def _packed(header: dict[str, Any], arrays: list[bytes]) -> bytes:
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(4, "little") + text + b"".join(arrays)
