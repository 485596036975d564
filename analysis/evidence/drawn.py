"""Boxes that a person drew around things of an episode, each from a step on, and where they are kept."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.atomic_file import replaced
from analysis.metrics.coverage import Box
from analysis.records import Setting
from models.errors import UserError

BOXES = "boxes"  # folder of a workspace: one file an episode, named by its digest


@dataclass(frozen=True)
class KeyBox:
    """Where a thing is from ``step`` on, until its next one."""

    name: str
    camera: str  # as the episode calls it
    step: int
    box: Box | None  # pixels of the original frame: left, top, right, bottom; None: out of view


@dataclass(frozen=True)
class DrawnBoxes:
    """Everything that was drawn on one episode."""

    keys: tuple[KeyBox, ...] = ()  # sorted, one a thing, camera and step
    moving: bool = False  # between two boxes a thing's edges move evenly; else the earlier one holds

    def at(self, camera: str, step: int) -> dict[str, Box]:
        """Name -> box on a camera's frame at a step. Before its first box a thing is not known to be there."""
        found = {}
        for name in dict.fromkeys(key.name for key in self.keys):
            own = [key for key in self.keys if (key.name, key.camera) == (name, camera)]
            place = bisect_right([key.step for key in own], step)
            after = own[place] if place < len(own) and self.moving else None
            if place and (box := _between(own[place - 1], after, step)) is not None:
                found[name] = box
        return found

    def with_key(self, key: KeyBox) -> DrawnBoxes:
        """With one more, in place of what the thing had at that step."""
        rest = self.without(key.name, key.camera, key.step).keys
        return replace(self, keys=tuple(sorted((*rest, key), key=_place)))

    def without(self, name: str, camera: str, step: int) -> DrawnBoxes:
        return replace(self, keys=tuple(key for key in self.keys if _place(key) != (name, camera, step)))

    def setting(self) -> dict[str, Setting]:
        """As a record's key and the file hold it."""
        keys: list[Setting] = [
            {"name": key.name, "camera": key.camera, "step": key.step, "box": None if key.box is None else [*key.box]}
            for key in self.keys
        ]
        return {"boxes": keys, "moving": self.moving}


NOTHING_DRAWN = DrawnBoxes()


def read_drawn(workspace: Path, digest: str) -> DrawnBoxes:
    """What was drawn on the episode of a digest. Raises UserError for a file that is no such thing."""
    path = _file(workspace, digest)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return NOTHING_DRAWN
    try:
        held = json.loads(text)
        keys = [KeyBox(str(e["name"]), str(e["camera"]), int(e["step"]), _box(e["box"])) for e in held["boxes"]]
        return DrawnBoxes(tuple(sorted(keys, key=_place)), bool(held["moving"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f'{path} holds no drawn boxes; expected {{"boxes": [{{"name", "camera", "step", "box": [left, top, right, '
            'bottom] or null}], "moving": true or false}'
        ) from None


def write_drawn(workspace: Path, digest: str, drawn: DrawnBoxes) -> None:
    """Keeps what was drawn on an episode, in place of what was kept before."""
    with replaced(_file(workspace, digest)) as part:
        part.write_text(json.dumps(drawn.setting(), indent=1, ensure_ascii=False), encoding="utf-8")


def _file(workspace: Path, digest: str) -> Path:
    return workspace / BOXES / f"{digest}.json"


def _place(key: KeyBox) -> tuple[str, str, int]:
    return key.name, key.camera, key.step


def _between(before: KeyBox, after: KeyBox | None, step: int) -> Box | None:
    if after is None or before.box is None or after.box is None:
        return before.box
    share = (step - before.step) / (after.step - before.step)
    left, top, right, bottom = (a + (b - a) * share for a, b in zip(before.box, after.box, strict=True))
    return left, top, right, bottom


def _box(held: Any) -> Box | None:
    if held is None:
        return None
    left, top, right, bottom = map(float, held)
    if not all(map(math.isfinite, (left, top, right, bottom))) or left >= right or top >= bottom:
        raise ValueError
    return left, top, right, bottom
