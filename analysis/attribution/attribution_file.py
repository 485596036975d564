"""One `AttributionMap` in one HDF5 file: scores as they were, everything else as one JSON text under ``/structure``."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.target import Target
from analysis.prediction_structure import finite, layout_of, number, stored_layout
from models.errors import UserError

VERSION = 1


def write_attribution(path: Path, found: AttributionMap) -> None:
    """Writes a new file."""
    delta = found.convergence_delta
    structure = {
        "kind": "attribution",
        "version": VERSION,
        "layout": stored_layout(found.layout),
        "method": found.method,
        "settings": dict(found.settings),
        "target": found.target.stored(),
        "signed": found.signed,
        "has_delta": delta is not None,
        "convergence_delta": None if delta is None else finite(delta),
        "forwards": found.forwards,
        "notes": dict(found.notes),
    }
    with h5py.File(path, "w") as file:
        file.create_dataset("scores", data=found.scores)
        if found.standard_error is not None:
            file.create_dataset("standard_error", data=found.standard_error)
        text = json.dumps(structure, allow_nan=False).encode("ascii")
        file.create_dataset("structure", data=np.frombuffer(text, np.uint8), compression="gzip")


def read_attribution(path: Path) -> AttributionMap:
    """The map as it was written. Raises UserError if the file is damaged, of another kind or version."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            stored = json.loads(file["structure"][()].tobytes())
            if (stored.get("kind"), stored["version"]) != ("attribution", VERSION):
                raise UserError(f"record {path} holds no attribution of version {VERSION}")
            return AttributionMap(
                layout=layout_of(stored["layout"]),
                scores=file["scores"][()],
                method=stored["method"],
                settings=stored["settings"],
                target=Target.read(stored["target"]),
                signed=bool(stored["signed"]),
                standard_error=file["standard_error"][()] if "standard_error" in file else None,
                convergence_delta=number(stored["convergence_delta"]) if stored["has_delta"] else None,
                forwards=int(stored["forwards"]),
                notes=stored["notes"],
            )
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"record {path} is damaged ({error}); delete its folder and run the method again") from None
