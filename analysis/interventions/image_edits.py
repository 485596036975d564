"""Parts of an image hidden: patches, a box, an object, all of it. On the original frame, before any preprocessing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from analysis.attribution.features import Fill, filled
from analysis.interventions.question import Question, Situation
from models.errors import UserError
from models.policy import Policy
from models.types import Part, PatchGrid

FILLS: dict[Fill, str] = {"mean": "the mean colour", "blur": "a blur", "grey": "grey", "black": "black"}
Box = tuple[float, float, float, float]


class _ImageEdit:
    fill: Fill

    def why_not(self, policy: Policy) -> str | None:
        """Every policy looks at images."""
        if self.fill not in FILLS:
            return f"hidden pixels cannot be filled with {self.fill!r}; they can with {', '.join(FILLS)}"
        return None


@dataclass(frozen=True)
class HidePatches(_ImageEdit):
    """Patches by their number in the grid, row by row."""

    kind: ClassVar[str] = "hide patches"
    camera: str  # as the policy calls it; empty: its only one
    patches: tuple[int, ...]
    fill: Fill = "mean"

    def describe(self) -> str:
        where = f" of {self.camera}" if self.camera else ""
        count = len(self.patches)
        return f"{count} {'patch' if count == 1 else 'patches'}{where} replaced by {FILLS[self.fill]}"

    def change(self, question: Question, situation: Situation) -> Question:
        camera = camera_of(question, self.camera)
        grid = grid_of(situation, camera)
        shape = question.observation.images[camera].shape[:2]
        pixels = np.zeros(shape, bool)
        for patch in self.patches:
            if not 0 <= patch < grid.rows * grid.columns:
                raise UserError(f"there is no patch {patch}; {camera} has {grid.rows} x {grid.columns}, the first is 0")
            pixels |= inside(shape, grid.rectangle(patch))
        return hide(question, camera, pixels, self.fill)


@dataclass(frozen=True)
class HideBox(_ImageEdit):
    kind: ClassVar[str] = "hide box"
    camera: str
    box: Box  # left, top, right, bottom in pixels of the original frame
    fill: Fill = "mean"

    def describe(self) -> str:
        left, top, right, bottom = (round(edge) for edge in self.box)
        where = f" of {self.camera}" if self.camera else ""
        return f"the box {left},{top} to {right},{bottom}{where} replaced by {FILLS[self.fill]}"

    def change(self, question: Question, situation: Situation) -> Question:
        camera = camera_of(question, self.camera)
        pixels = inside(question.observation.images[camera].shape[:2], self.box)
        if not pixels.any():
            height, width = pixels.shape
            raise UserError(f"the box {self.box} lies outside the frame of {width} x {height} pixels")
        return hide(question, camera, pixels, self.fill)


@dataclass(frozen=True)
class HideObject(_ImageEdit):
    """By its mask where the episode has one, else its box; on every camera that shows it."""

    kind: ClassVar[str] = "hide object"
    name: str
    fill: Fill = "mean"

    def describe(self) -> str:
        return f"the {self.name} replaced by {FILLS[self.fill]}"

    def change(self, question: Question, situation: Situation) -> Question:
        found = [thing for thing in situation.objects if thing.name == self.name]
        if not found:
            names = ", ".join(sorted({thing.name for thing in situation.objects}))
            known = f"the episode knows {names} here" if names else "the episode knows no objects here; hide a box"
            raise UserError(f"there is no {self.name!r} in view at step {situation.step}; {known}")
        for thing in found:
            shape = question.observation.images[thing.camera].shape[:2]
            mask = thing.mask if thing.mask is not None and thing.mask.shape == shape else None
            pixels = mask if mask is not None else inside(shape, thing.box)
            question = hide(question, thing.camera, pixels, self.fill)
        return question


@dataclass(frozen=True)
class HideImage(_ImageEdit):
    kind: ClassVar[str] = "hide image"
    camera: str = ""  # empty: every one
    fill: Fill = "mean"

    def describe(self) -> str:
        return f"{f'the whole image of {self.camera}' if self.camera else 'every image'} replaced by {FILLS[self.fill]}"

    def change(self, question: Question, situation: Situation) -> Question:
        cameras = [camera_of(question, self.camera)] if self.camera else [*question.observation.images]
        for camera in cameras:
            shape = question.observation.images[camera].shape[:2]
            question = hide(question, camera, np.ones(shape, bool), self.fill)
        return question


def hide(question: Question, camera: str, pixels: Bool[np.ndarray, "H W"], fill: Fill) -> Question:
    """The question with some pixels of a camera filled; the filling is made from the frame as it is."""
    frame = question.observation.images[camera]
    images = dict(question.observation.images)
    images[camera] = np.where(pixels[:, :, None], filled(frame, fill), frame)
    return replace(question, observation=replace(question.observation, images=images))


def inside(shape: tuple[int, ...], box: Box | None) -> Bool[np.ndarray, "H W"]:
    """Pixels whose centre lies in a box."""
    pixels = np.zeros(shape[:2], bool)
    if box is not None:
        left, top, right, bottom = (max(round(edge), 0) for edge in box)
        pixels[top:bottom, left:right] = True
    return pixels


def camera_of(question: Question, camera: str) -> str:
    """The camera of that name, or the only one. Raises UserError where it is not clear."""
    there = [*question.observation.images]
    if camera in there:
        return camera
    if not camera and len(there) == 1:
        return there[0]
    wanted = f"there is no camera {camera!r}" if camera else "say which camera is meant"
    raise UserError(f"{wanted}; the policy sees {', '.join(there)}")


def grid_of(situation: Situation, camera: str) -> PatchGrid:
    """Raises UserError where a camera's image is read in several tiles, which have no common grid."""
    spans = [span for span in situation.layout.spans if span.part is Part.IMAGE]
    grids = [span.grid for span in spans if span.grid is not None and span.grid.camera == camera]
    if len(grids) != 1 or grids[0] is None:
        raise UserError(f"the policy reads {camera} in {len(grids)} tiles, not as one grid of patches; hide a box")
    return grids[0]
