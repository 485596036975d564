"""The frames of the what-if page: which patches there are, which objects are in view or drawn, what is hidden."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from analysis.attribution.features import SeenObject
from analysis.interventions.image_edits import HideBox, HideImage, HideObject
from analysis.interventions.question import Intervention
from analysis.metrics.coverage import Box
from app.components.what_if_frame import ShownFrame, ShownObject
from app.evidence_asked import drawn_on
from app.what_if import Place, Seen
from app.what_if_edits import hidden_patches
from models.types import Part


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
    things = _known(seen, camera, gone) + _drawn(place, camera, source, seen, boxes)
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
        tuple(things),
    )


def _known(seen: Seen | None, camera: str, gone: set[str]) -> list[ShownObject]:
    """What the episode or the policy itself names."""
    return [
        ShownObject(thing.name, box, thing.name in gone)
        for thing in (seen.objects if seen is not None else ())
        if thing.camera == camera and (box := _box(thing)) is not None
    ]


def _drawn(place: Place, camera: str, source: str, seen: Seen | None, hidden: Sequence[Box]) -> list[ShownObject]:
    """What people drew boxes around on the Evidence page, whole pixels; of names that are not known otherwise."""
    if seen is None:
        return []
    meta = place.library.episode(place.asked.dataset, place.asked.episode).meta
    held = drawn_on(place.library, place.asked.dataset, meta).at(source, place.step)
    known = {thing.name for thing in seen.objects}
    boxes = {name: _whole(box) for name, box in held.items() if name not in known}
    return [ShownObject(name, box, box in hidden, by_hand=True) for name, box in boxes.items()]


def _whole(box: Box) -> Box:
    left, top, right, bottom = map(round, box)
    return float(left), float(top), float(right), float(bottom)


def _box(thing: SeenObject) -> Box | None:
    """Around what would be hidden, whole pixels."""
    if thing.mask is None:
        return thing.box
    rows, columns = np.nonzero(thing.mask)
    if not len(rows):
        return None
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
