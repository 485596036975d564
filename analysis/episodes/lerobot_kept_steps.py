"""Phases, objects and exact rationales of one exported episode, in a parquet file of its own: see docs/export.md."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from analysis.episodes.encoded_image import decode_labels
from analysis.episodes.lerobot_kept import strings
from analysis.episodes.lerobot_paths import clean, present
from analysis.episodes.lerobot_rows import check_columns, reading
from analysis.types import SceneObject
from models.errors import UserError
from models.types import Rationale

STEPS_FILE = "vla_lens/chunk-{chunk:03d}/episode_{index:06d}.parquet"
FILES_A_FOLDER = 1000
RATIONALES, SAID = b"vla_lens.rationales", b"vla_lens.said"
MAX_OBJECTS = 10_000  # a step
OBJECT = pa.struct(
    [
        pa.field("camera", pa.string()),
        pa.field("name", pa.string()),
        pa.field("position", pa.list_(pa.float32())),
        pa.field("box", pa.list_(pa.float64())),
        pa.field("mask", pa.binary()),  # PNG, white where the thing is
    ]
)
STEPS = pa.schema([pa.field("phase", pa.string()), pa.field("objects", pa.list_(OBJECT))])


@dataclass(frozen=True)
class KeptSteps:
    """Phases and objects of one episode, read a row group at a time."""

    path: Path
    starts: tuple[int, ...]  # first step of each row group, and the number of steps
    rationales: tuple[Rationale, ...]
    said: str  # fingerprint of what the language columns said when they were written

    @classmethod
    def open(cls, root: Path, index: int, length: int) -> KeptSteps:
        """Raises UserError if the file is absent, damaged, or of another length than the episode."""
        path = present(root, steps_file(index))
        with reading(path) as file:
            if not file.schema_arrow.equals(STEPS, check_metadata=False):
                raise UserError(f"{path.name} has other columns than docs/export.md says; export the episode again")
            starts = [0]
            for group in range(file.metadata.num_row_groups):
                starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
            stored = file.schema_arrow.metadata or {}
        if starts[-1] != length:
            raise UserError(f"lengths disagree: the list of episodes says {length} steps, {path.name} has {starts[-1]}")
        rationales = _rationales(stored.get(RATIONALES, b"[]"), length, path)
        return cls(path, tuple(starts), rationales, stored.get(SAID, b"").decode("ascii", "replace"))

    def exact(self, read: tuple[Rationale, ...]) -> tuple[Rationale, ...]:
        """The rationales as they were before the export, unless the language columns were changed since."""
        return self.rationales if fingerprint(read) == self.said else read

    def at(self, step: int) -> tuple[str, dict[str, tuple[SceneObject, ...]]]:
        """Phase, and objects per camera. Raises UserError for a damaged file."""
        group = int(np.searchsorted(self.starts, step, "right")) - 1
        with reading(self.path) as file:
            check_columns(file, STEPS.names, (group,), self.path)
            row = file.read_row_group(group).slice(step - self.starts[group], 1).to_pylist()[0]
        given = [entry for entry in row["objects"] or () if entry is not None][:MAX_OBJECTS]
        objects: dict[str, tuple[SceneObject, ...]] = {}
        for entry in given:
            camera = clean(entry["camera"] or "")
            objects[camera] = (*objects.get(camera, ()), _object(entry, f"step {step} of {self.path.name}"))
        return clean(row["phase"] or ""), objects


def steps_file(index: int) -> str:
    return STEPS_FILE.format(chunk=index // FILES_A_FOLDER, index=index)


def stored_object(camera: str, given: SceneObject) -> dict[str, Any]:
    """One thing in view as a row of the column ``objects``."""
    mask = None
    if given.mask is not None:
        out = io.BytesIO()
        Image.fromarray(np.asarray(given.mask, bool)).save(out, "PNG")
        mask = out.getvalue()
    position = None if given.position is None else [float(value) for value in given.position]
    box = None if given.box is None else [float(side) for side in given.box]
    return {"camera": camera, "name": given.name, "position": position, "box": box, "mask": mask}


def fingerprint(rationales: Sequence[Rationale]) -> str:
    """sha256 of what is said for which steps, 16 hex digits; authors do not count, as LeRobot keeps none."""
    said = [(one.start, one.stop, sorted(one.parts.items())) for one in rationales]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def rationales_json(rationales: Sequence[Rationale]) -> bytes:
    return json.dumps([asdict(one) for one in rationales]).encode()


def _rationales(stored: bytes, length: int, path: Path) -> tuple[Rationale, ...]:
    out = []
    try:
        for given in json.loads(stored):
            start, stop, author, parts = (given[key] for key in ("start", "stop", "author", "parts"))
            if not (isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop <= length):
                raise ValueError
            if not strings([author, *parts.values()]):
                raise ValueError
            said = {clean(part): clean(text) for part, text in parts.items()}
            out.append(Rationale(parts=said, start=start, stop=stop, author=clean(author)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"the rationales kept in {path.name} are not understood; export the episode again") from None
    return tuple(out)


def _object(entry: Mapping[str, Any], where: str) -> SceneObject:
    position, box = entry["position"], entry["box"]
    for numbers, count in ((position, 3), (box, 4)):
        if numbers is not None and (len(numbers) != count or None in numbers):
            raise UserError(f"{where} has {len(numbers)} numbers where {count} are expected; export the episode again")
    return SceneObject(
        name=clean(entry["name"] or ""),
        position=None if position is None else np.array(position, np.float32),
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        mask=None if entry["mask"] is None else decode_labels(entry["mask"], f"a mask in {where}") > 0,
    )
