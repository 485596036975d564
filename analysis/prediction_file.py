"""One `Prediction` in one HDF5 file. Arrays are datasets; everything else is one JSON text under ``/structure``.

Attention weights may be stored in half precision; all other values come back exactly as they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.errors import UserError
from models.types import ActionDistribution, AttentionRecord, Part, PatchGrid, Prediction, Rationale, Span, TokenLayout

VERSION = 1


def write_prediction(path: Path, prediction: Prediction, attention_dtype: str) -> None:
    """Writes a new file. ``attention_dtype``: "float16" (error at most 5e-4 of a weight) or "float32" (exact)."""
    layouts = _distinct_layouts(prediction)
    with h5py.File(path, "w") as file:
        for name in ("actions", "tokens", "token_logprobs"):
            file.create_dataset(name, data=getattr(prediction, name))
        for number, record in enumerate(prediction.attention):
            # lzf takes a fifth off and is read in 2 ms for half a megabyte; gzip would take little more off, at 3 ms
            compression = "lzf" if record.weights.size else None
            weights = record.weights.astype(attention_dtype)
            file.create_dataset(f"attention/{number}/weights", data=weights, compression=compression)
        for name in ("values", "probabilities"):
            columns = [getattr(entry, name) for entry in prediction.action_distribution]
            if columns:
                file.create_dataset(f"distribution/{name}", data=np.concatenate(columns))
        structure = json.dumps(_structure(prediction, layouts)).encode("ascii")
        file.create_dataset("structure", data=np.frombuffer(structure, np.uint8), compression="gzip")


def read_prediction(path: Path, attention: bool = True) -> Prediction:
    """The prediction as it was written; with ``attention`` false, without reading any attention weights.

    Raises UserError if the file is damaged or of another version.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            structure = json.loads(file["structure"][()].tobytes())
            if structure["version"] != VERSION:
                raise UserError(
                    f"record {path} is version {structure['version']}; this program reads version {VERSION}"
                )
            return _prediction(file, structure, attention)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(
            f"record {path} is damaged ({error}); delete its folder and capture the episode again"
        ) from None


def read_attention(path: Path, number: int = 0) -> np.ndarray:
    """Only the weights [L, A, Q, K] of attention record ``number``, in the stored precision."""
    with h5py.File(path, "r", locking=False) as file:
        weights: np.ndarray = file[f"attention/{number}/weights"][()]
        return weights


def _distinct_layouts(prediction: Prediction) -> list[TokenLayout]:
    """Records of one stream share a layout; each is stored once."""
    layouts = [prediction.layout]
    for record in prediction.attention:
        if record.layout not in layouts:
            layouts.append(record.layout)
    return layouts


def _structure(prediction: Prediction, layouts: Sequence[TokenLayout]) -> dict[str, Any]:
    rationale = prediction.rationale
    return {
        "version": VERSION,
        "action_names": prediction.action_names,
        "action_units": prediction.action_units,
        "token_texts": prediction.token_texts,
        "text": prediction.text,
        # asdict deep-copies, which a read-only mapping of parts does not allow
        "rationale": None if rationale is None else asdict(replace(rationale, parts=dict(rationale.parts))),
        "layouts": [asdict(layout) for layout in layouts],
        "attention": [
            {"layers": r.layers, "queries": r.queries, "produced": r.produced, "stream": r.stream}
            | {"layout": layouts.index(r.layout), "dtype": str(r.weights.dtype)}
            for r in prediction.attention
        ],
        "distribution": [
            {"token": d.token, "step": d.step, "name": d.name, "mass": d.mass, "bins": len(d.values)}
            | {"dtypes": [str(d.values.dtype), str(d.probabilities.dtype)]}
            for d in prediction.action_distribution
        ],
    }


def _prediction(file: h5py.File, structure: Mapping[str, Any], attention: bool) -> Prediction:
    layouts = [_layout(stored) for stored in structure["layouts"]]
    rationale = structure["rationale"]
    return Prediction(
        actions=file["actions"][()],
        action_names=tuple(structure["action_names"]),
        action_units=tuple(structure["action_units"]),
        tokens=file["tokens"][()],
        token_texts=tuple(structure["token_texts"]),
        token_logprobs=file["token_logprobs"][()],
        text=structure["text"],
        rationale=None if rationale is None else Rationale(**rationale),
        action_distribution=_distributions(file, structure["distribution"]),
        layout=layouts[0],
        attention=_attention(file, structure["attention"], layouts) if attention else (),
    )


def _attention(
    file: h5py.File, stored: Sequence[Mapping[str, Any]], layouts: Sequence[TokenLayout]
) -> tuple[AttentionRecord, ...]:
    return tuple(
        AttentionRecord(
            weights=file[f"attention/{number}/weights"][()].astype(entry["dtype"]),
            layers=tuple(entry["layers"]),
            queries=tuple(entry["queries"]),
            produced=tuple(entry["produced"]),
            layout=layouts[entry["layout"]],
            stream=entry["stream"],
        )
        for number, entry in enumerate(stored)
    )


def _distributions(file: h5py.File, stored: Sequence[Mapping[str, Any]]) -> tuple[ActionDistribution, ...]:
    if not stored:
        return ()
    ends = np.cumsum([entry["bins"] for entry in stored])[:-1]
    values, probabilities = (np.split(file[f"distribution/{name}"][()], ends) for name in ("values", "probabilities"))
    return tuple(
        ActionDistribution(
            token=entry["token"],
            step=entry["step"],
            name=entry["name"],
            values=centres.astype(entry["dtypes"][0]),
            probabilities=chances.astype(entry["dtypes"][1]),
            mass=entry["mass"],
        )
        for entry, centres, chances in zip(stored, values, probabilities, strict=True)
    )


def _layout(stored: Mapping[str, Any]) -> TokenLayout:
    return TokenLayout(tokens=tuple(stored["tokens"]), spans=tuple(_span(span) for span in stored["spans"]))


def _span(stored: Mapping[str, Any]) -> Span:
    grid = stored["grid"]
    box = None if grid is None else PatchGrid(**(grid | {"box": tuple(grid["box"])}))
    return Span(**{**stored, "part": Part(stored["part"]), "grid": box})
