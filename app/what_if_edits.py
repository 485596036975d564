"""How the list of changes grows: what a click, a preset or a field makes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast, get_args

from analysis.attribution.features import Fill
from analysis.interventions.image_edits import HideBox, HideImage, HideObject, HidePatches
from analysis.interventions.instruction_edits import (
    BlankInstruction,
    NegatedInstruction,
    OtherObject,
    OwnInstruction,
    ParaphrasedInstruction,
    ShuffledInstruction,
)
from analysis.interventions.knock_outs import KnockOutHead, KnockOutRoute
from analysis.interventions.question import Intervention
from models.types import TokenLayout

IMAGE = (HidePatches, HideBox, HideObject, HideImage)
INSTRUCTION = (
    BlankInstruction,
    ShuffledInstruction,
    OtherObject,
    NegatedInstruction,
    ParaphrasedInstruction,
    OwnInstruction,
)
ATTENTION = (KnockOutRoute, KnockOutHead)
Edits = tuple[Intervention, ...]


def after_click(edits: Sequence[Intervention], click: Mapping[str, object], fill: object) -> Edits:
    """``click``: what the frame's component sent; what makes no sense changes nothing."""
    filling = cast(Fill, fill if fill in get_args(Fill) else "mean")
    on, camera, name = bool(click.get("on")), click.get("camera"), click.get("object")
    if isinstance(name, str):
        rest = tuple(each for each in edits if not (isinstance(each, HideObject) and each.name == name))
        return (*rest, HideObject(name, filling)) if on else rest
    boxes, patches = click.get("boxes"), click.get("patches")
    if isinstance(boxes, list):
        hidden = [made for each in boxes if (made := _hidden_box(each, filling)) is not None]
        places = {(each.camera, each.box) for each in hidden}
        rest = tuple(each for each in edits if not (isinstance(each, HideBox) and (each.camera, each.box) in places))
        return (*rest, *hidden) if on else rest
    if isinstance(camera, str) and isinstance(patches, list) and all(isinstance(each, int) for each in patches):
        return _with_patches(edits, camera, frozenset(patches), on, filling)
    return tuple(edits)


def with_instruction(edits: Sequence[Intervention], one: Intervention | None) -> Edits:
    """With another change of the instruction in place of any that there is; None: without."""
    rest = tuple(each for each in edits if not isinstance(each, INSTRUCTION))
    return rest if one is None else (*rest, one)


def with_fill(edits: Sequence[Intervention], fill: Fill) -> Edits:
    """With everything that is hidden filled in another way."""
    return tuple(replace(each, fill=fill) if isinstance(each, IMAGE) else each for each in edits)


def added(edits: Sequence[Intervention], one: Intervention) -> Edits:
    """With one more, unless it is there already."""
    return tuple(edits) if one in edits else (*edits, one)


def without(edits: Sequence[Intervention], index: int) -> Edits:
    return (*edits[:index], *edits[index + 1 :])


def hidden_patches(edits: Sequence[Intervention], camera: str) -> tuple[int, ...]:
    """Numbers of the patches of a camera that are hidden."""
    of_camera = [each for each in edits if isinstance(each, HidePatches) and each.camera == camera]
    return tuple(sorted({patch for each in of_camera for patch in each.patches}))


def hiding(layout: TokenLayout, camera: str, patch: int) -> Intervention | None:
    """What hides one patch of a camera, counted over all tiles that it is read in; None where there is none such."""
    grids = [span.grid for span in layout.spans if span.grid is not None and span.grid.camera == camera]
    for grid in grids:
        if 0 <= patch < grid.rows * grid.columns:
            return HidePatches(camera, (patch,)) if len(grids) == 1 else HideBox(camera, grid.rectangle(patch))
        patch -= grid.rows * grid.columns
    return None


def _with_patches(edits: Sequence[Intervention], camera: str, patches: frozenset[int], on: bool, fill: Fill) -> Edits:
    before = frozenset(hidden_patches(edits, camera))
    after = tuple(sorted(before | patches if on else before - patches))
    rest = tuple(each for each in edits if not (isinstance(each, HidePatches) and each.camera == camera))
    return (*rest, HidePatches(camera, after, fill)) if after else rest


def _hidden_box(sent: object, fill: Fill) -> HideBox | None:
    camera, box = (sent.get("camera"), sent.get("box")) if isinstance(sent, Mapping) else (None, None)
    if not isinstance(camera, str) or not isinstance(box, list) or len(box) != 4 or not all(map(_number, box)):
        return None
    left, top, right, bottom = map(float, box)
    return HideBox(camera, (left, top, right, bottom), fill)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
