"""What ECoT's annotations say about one episode: reasoning in words for each step, and labelled boxes.

The public file for BridgeData V2 was made from camera ``image_0`` as it stands in the RLDS data set, 256 x 256 pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from analysis.types import SceneObject
from models.errors import UserError
from models.types import Rationale

FRAME = 256  # pixels, width and height of the frame in which the annotations give boxes
CAMERA = "image_0"
AUTHOR = "ECoT annotations"
PARTS: Mapping[str, str] = {  # as in RATIONALE_TITLES -> as in the file; in the order in which ECoT says them
    "task": "task",
    "plan": "plan",
    "subtask reasoning": "subtask_reason",
    "subtask": "subtask",
    "move reasoning": "move_reason",
    "move": "move",
}


@dataclass(frozen=True)
class LabelledBox:
    """What an open-vocabulary detector saw."""

    name: str
    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of a frame of 256 x 256
    confidence: float | None  # the detector's, 0 to 1; None: the file gives none


@dataclass(frozen=True)
class EcotAnnotation:
    """One episode's annotations."""

    file_path: str
    episode_id: str
    rationales: tuple[Rationale, ...]  # each for as many steps as it stays word for word the same
    boxes: tuple[tuple[LabelledBox, ...], ...]  # of each step
    digest: str  # see `annotation_digest`

    def rationales_within(self, length: int) -> tuple[Rationale, ...]:
        """The rationales of an episode of ``length`` steps; what is said about later steps is left out."""
        inside = (said for said in self.rationales if said.start < length)
        return tuple(Rationale(said.parts, said.start, min(said.stop, length), said.author) for said in inside)

    def objects(self, step: int, width: int, height: int, confidence: float = 0.0) -> tuple[SceneObject, ...]:
        """The boxes of one step on a frame of ``width`` x ``height`` pixels, those outside of it left out.

        Each axis is scaled by itself, as the frames were when they were made square. Boxes whose detector gave a
        lower ``confidence`` are left out.
        """
        out = []
        for seen in self.boxes[step] if 0 <= step < len(self.boxes) else ():
            left, right = (min(max(x * width / FRAME, 0.0), float(width)) for x in seen.box[::2])
            top, bottom = (min(max(y * height / FRAME, 0.0), float(height)) for y in seen.box[1::2])
            sure = seen.confidence is None or seen.confidence >= confidence
            if sure and left < right and top < bottom:
                out.append(SceneObject(seen.name, box=(left, top, right, bottom)))
        return tuple(out)


def annotation_json(stored: Mapping[str, Any]) -> bytes:
    """An entry as compact JSON, its keys in the file's order."""
    return json.dumps(stored, separators=(",", ":")).encode()


def annotation_digest(content: bytes) -> str:
    """sha256 of what `annotation_json` gives; first 16 hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def read_annotation(file_path: str, episode_id: str, stored: Mapping[str, Any]) -> EcotAnnotation:
    """One entry of the file. Raises UserError that names the episode for anything in another layout."""
    where = f"the annotations of episode {episode_id} in {file_path}"
    features = stored.get("features") or {}
    reasoning = stored.get("reasoning") or {}
    if not isinstance(features, dict) or not isinstance(reasoning, dict):
        raise UserError(f"{where}: 'features' and 'reasoning' are no objects; expected names, and steps, with values")
    boxes = features.get("bboxes") or []
    if not isinstance(boxes, list) or not all(isinstance(step, list) for step in boxes):
        raise UserError(f"{where}: 'bboxes' is no list with a list for each step")
    return EcotAnnotation(
        file_path=file_path,
        episode_id=episode_id,
        rationales=_rationales(reasoning, where),
        boxes=tuple(tuple(_box(entry, where) for entry in step) for step in boxes),
        digest=annotation_digest(annotation_json(stored)),
    )


def _rationales(reasoning: Mapping[str, Any], where: str) -> tuple[Rationale, ...]:
    said = []
    for step, parts in reasoning.items():
        if not (step.isascii() and step.isdigit() and len(step) < 10 and isinstance(parts, dict)):
            raise UserError(f"{where}: {step[:40]!r} in 'reasoning' is no step number with named parts")
        texts = {name: parts.get(key) or "" for name, key in PARTS.items()}
        if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
            raise UserError(f"{where}: {wrong[0]!r} of step {step} is no text")
        if any(text.strip() for text in texts.values()):
            said.append((int(step), {name: text.strip() for name, text in texts.items() if text.strip()}))
    said.sort(key=lambda entry: entry[0])
    out = []
    # steps that follow one another and say the same share a key: place in the list minus step is constant in a run
    for _, run in groupby(enumerate(said), key=lambda entry: (entry[1][0] - entry[0], tuple(entry[1][1].items()))):
        entries = [entry for _, entry in run]
        out.append(Rationale(entries[0][1], entries[0][0], entries[-1][0] + 1, AUTHOR))
    return tuple(out)


def _box(entry: Any, where: str) -> LabelledBox:
    """[confidence, name, corners] as in the Bridge file, or [name, corners]."""
    confidence: float | None
    match entry:
        case [int() | float() as confidence, str(name), [left, top, right, bottom] as corners]:
            pass
        case [str(name), [left, top, right, bottom] as corners]:
            confidence = None
        case _:
            raise UserError(f"{where}: a box is {str(entry)[:100]}; expected [confidence, name, [x1, y1, x2, y2]]")
    if not all(isinstance(value, int | float) for value in corners):
        raise UserError(f"{where}: the corners of a box are {str(corners)[:100]}; expected four numbers")
    corner = (float(left), float(top), float(right), float(bottom))
    return LabelledBox(name, corner, None if confidence is None else float(confidence))
