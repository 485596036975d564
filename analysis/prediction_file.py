"""One `Prediction` in one HDF5 file. Arrays are datasets; everything else is one JSON text under ``/structure``.

Attention weights may be stored in half precision; all other values come back exactly as they were. A file can be read
in part: which attention there is, and the weights of some layers of one record, without the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analysis.prediction_structure import (
    READABLE,
    VERSION,
    box,
    layouts_of,
    marks_of,
    number,
    rationale_of,
    structure,
)
from models.errors import UserError
from models.types import ActionDistribution, AttentionRecord, DepthMap, Prediction, TokenLayout


def write_prediction(path: Path, prediction: Prediction, attention_dtype: str) -> None:
    """Writes a new file. ``attention_dtype``: "float16" (error at most 5e-4 of a weight) or "float32" (exact)."""
    with h5py.File(path, "w") as file:
        for name in ("actions", "tokens", "token_logprobs"):
            file.create_dataset(name, data=getattr(prediction, name))
        for place, record in enumerate(prediction.attention):
            weights = record.weights.astype(attention_dtype)
            # lzf takes a fifth off and is read in 2 ms for half a megabyte; gzip would take little more off, at 3 ms.
            # A chunk a layer: single layers of a large model can be read alone.
            packed = {"compression": "lzf", "chunks": (1, *weights.shape[1:])} if weights.size else {}
            file.create_dataset(f"attention/{place}/weights", data=weights, **packed)
        for name in ("values", "probabilities"):
            columns = [getattr(entry, name) for entry in prediction.action_distribution]
            if columns:
                file.create_dataset(f"distribution/{name}", data=np.concatenate(columns))
        for place, depth in enumerate(prediction.depth):
            packed = {"compression": "lzf"} if depth.metres.size else {}
            file.create_dataset(f"depth/{place}", data=depth.metres, **packed)
        text = json.dumps(structure(prediction), allow_nan=False).encode("ascii")
        file.create_dataset("structure", data=np.frombuffer(text, np.uint8), compression="gzip")


@dataclass(frozen=True)
class StoredRows:
    """An `AttentionRecord` as it stands on disk: everything but its weights."""

    place: int  # among the records of the prediction
    shape: tuple[int, int, int, int]  # layers, heads, queries, positions
    layers: tuple[int, ...]
    queries: tuple[int, ...]
    produced: tuple[int, ...]
    layout: TokenLayout
    stream: str
    denoising_step: int | None


@dataclass(frozen=True)
class StepFile:
    """An open file; see `reading`."""

    _file: h5py.File
    _structure: Mapping[str, Any]

    @cached_property
    def prediction(self) -> Prediction:
        """Everything but the attention."""
        stored, file = self._structure, self._file
        return Prediction(
            actions=file["actions"][()],
            action_names=tuple(stored["action_names"]),
            action_units=tuple(stored["action_units"]),
            tokens=file["tokens"][()],
            token_texts=tuple(stored["token_texts"]),
            token_logprobs=file["token_logprobs"][()],
            text=stored["text"],
            rationale=rationale_of(stored),
            action_distribution=_distributions(file, stored["distribution"]),
            layout=self._layouts[0],
            marks=marks_of(stored),
            depth=tuple(
                DepthMap(entry["camera"], file[f"depth/{place}"][()], box(entry["box"]))
                for place, entry in enumerate(stored.get("depth", ()))
            ),
        )

    @cached_property
    def rows(self) -> tuple[StoredRows, ...]:
        """The attention that is there."""
        return tuple(
            StoredRows(
                place=place,
                shape=self._weights(place).shape,
                layers=tuple(entry["layers"]),
                queries=tuple(entry["queries"]),
                produced=tuple(entry["produced"]),
                layout=self._layouts[entry["layout"]],
                stream=entry["stream"],
                denoising_step=entry.get("denoising_step"),
            )
            for place, entry in enumerate(self._structure["attention"])
        )

    def weights(self, rows: StoredRows, layers: Sequence[int] | None = None) -> np.ndarray:
        """The weights [l, A, Q, K] of ``layers`` (numbers, ascending; None: all), in the stored precision."""
        stored = self._weights(rows.place)
        if layers is None or tuple(layers) == rows.layers:
            return np.asarray(stored[()])
        return np.asarray(stored[[rows.layers.index(layer) for layer in layers]])

    def attention(self) -> tuple[AttentionRecord, ...]:
        """All records whole, in the precision that they were captured in."""
        return tuple(
            AttentionRecord(
                weights=self.weights(rows).astype(entry["dtype"]),
                layers=rows.layers,
                queries=rows.queries,
                produced=rows.produced,
                layout=rows.layout,
                stream=rows.stream,
                denoising_step=rows.denoising_step,
            )
            for rows, entry in zip(self.rows, self._structure["attention"], strict=True)
        )

    @cached_property
    def _layouts(self) -> list[TokenLayout]:
        return layouts_of(self._structure)

    def _weights(self, place: int) -> h5py.Dataset:
        return self._file[f"attention/{place}/weights"]


@contextmanager
def reading(path: Path) -> Iterator[StepFile]:
    """Opens a file to read parts of it. Raises UserError if the file is damaged or of another version."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            stored = json.loads(file["structure"][()].tobytes())
            if stored["version"] not in READABLE:
                raise UserError(f"record {path} is version {stored['version']}; this program reads version {VERSION}")
            yield StepFile(file, stored)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise UserError(
            f"record {path} is damaged ({error}); delete its folder and capture the episode again"
        ) from None


def read_prediction(path: Path, attention: bool = True) -> Prediction:
    """The prediction as it was written; with ``attention`` false, without reading any attention weights.

    Raises UserError if the file is damaged or of another version.
    """
    with reading(path) as file:
        return replace(file.prediction, attention=file.attention()) if attention else file.prediction


def read_attention(path: Path, place: int = 0) -> np.ndarray:
    """Only the weights [L, A, Q, K] of attention record ``place``, in the stored precision."""
    with reading(path) as file:
        return file.weights(file.rows[place])


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
            mass=number(entry["mass"]),
        )
        for entry, centres, chances in zip(stored, values, probabilities, strict=True)
    )
