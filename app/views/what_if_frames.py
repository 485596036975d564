"""The frames of the what-if page: which patches there are, which objects are in view, what is hidden."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from analysis.attribution.features import SeenObject
from analysis.interventions.image_edits import HideBox, HideImage, HideObject
from analysis.interventions.question import Intervention
from app.components.what_if_frame import ShownFrame, ShownObject
from app.what_if import Place, Seen
from app.what_if_edits import hidden_patches
from models.types import Part

Box = tuple[float, float, float, float]


def shown_frames(place: Place, seen: Seen | None, edits: tuple[Intervention, ...]) -> list[ShownFrame]:
    """One for each camera that the policy sees."""
    return [_frame(place, seen, edits, camera, source) for camera, source in place.cameras.pairs]


def _frame(place: Place, seen: Seen | None, edits: tuple[Intervention, ...], camera: str, source: str) -> ShownFrame:
    asked = place.asked
    data, _ = place.library.read(asked.dataset, asked.episode, lambda each: each.encoded_frame(source, place.step))
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    spans = [span for span in seen.layout.spans if span.part is Part.IMAGE] if seen is not None else []
    grids = [span.grid for span in spans if span.grid is not None and span.grid.camera == camera]
    grid = grids[0] if len(grids) == 1 else None
    gone = {each.name for each in edits if isinstance(each, HideObject)}
    boxes = [each.box for each in edits if isinstance(each, HideBox) and each.camera in (camera, "")]
    whole = any(isinstance(each, HideImage) and each.camera in (camera, "") for each in edits)
    return ShownFrame(
        camera,
        source,
        width,
        height,
        grid.rows if grid else 0,
        grid.columns if grid else 0,
        grid.box if grid else (0.0, 0.0, float(width), float(height)),
        hidden_patches(edits, camera),
        (*boxes, *([(0.0, 0.0, float(width), float(height))] if whole else [])),
        tuple(
            ShownObject(thing.name, box, thing.name in gone)
            for thing in (seen.objects if seen is not None else ())
            if thing.camera == camera and (box := _box(thing)) is not None
        ),
    )


def _box(thing: SeenObject) -> Box | None:
    """Around what would be hidden, whole pixels."""
    if thing.mask is None:
        return thing.box
    rows, columns = np.nonzero(thing.mask)
    if not len(rows):
        return None
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
