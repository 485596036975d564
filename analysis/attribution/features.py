"""What a perturbation can hide from a policy: patches, regions, objects, words; and hiding them.

A part of an image is hidden on the original frame, before any preprocessing, so that every policy can be asked; a word
is taken out of the instruction, or out of the rationale that the policy is made to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from models.errors import UserError
from models.types import FrameMark, Observation, Part, PatchGrid, Prediction, Rationale, TokenLayout

Fill = Literal["mean", "blur", "grey", "black"]
Over = Literal["patches", "regions", "objects", "words", "rationale"]
Box = tuple[float, float, float, float]
TILED = 8  # rows and columns that stand for patches where an image is read in several tiles
BLUR = 1 / 8  # standard deviation of the blur by the frame's longer side


@dataclass(frozen=True)
class SeenObject:
    """Something in view, in pixels of the original frame."""

    camera: str  # as the policy calls it
    name: str
    box: Box | None = None  # left, top, right, bottom
    mask: Bool[np.ndarray, "H W"] | None = None  # where there is one it counts, not the box


@dataclass(frozen=True, eq=False)
class Feature:
    """Something that can be hidden, and the positions of the layout that its score belongs to."""

    name: str
    positions: tuple[int, ...]
    camera: str = ""
    pixels: Bool[np.ndarray, "H W"] | None = None  # of ``camera``'s frame
    characters: tuple[int, int] | None = None  # [start, stop) of the instruction
    spoken: tuple[str, int] | None = None  # part of the rationale, number of the word in it


@dataclass(frozen=True)
class Told:
    """An observation, and the rationale that the policy is made to say to it."""

    observation: Observation
    rationale: Rationale


def windows(
    observation: Observation, layout: TokenLayout, camera: str | None, size: int, stride: int
) -> tuple[Feature, ...]:
    """Squares of ``size`` x ``size`` patches, ``stride`` patches apart; the last one ends at the edge."""
    found: list[Feature] = []
    for grid in grids(observation, layout, camera):
        tops, lefts = _starts(grid.rows, size, stride), _starts(grid.columns, size, stride)
        high, wide = min(size, grid.rows), min(size, grid.columns)
        found += [
            _region(observation, layout, grid, (top, left, top + high, left + wide)) for top in tops for left in lefts
        ]
    return tuple(found)


def regions(observation: Observation, layout: TokenLayout, camera: str | None, side: int) -> tuple[Feature, ...]:
    """Every image cut into ``side`` x ``side`` regions along its patches; no more than there are patches."""
    found: list[Feature] = []
    for grid in grids(observation, layout, camera):
        down, across = (_edges(count, side) for count in (grid.rows, grid.columns))
        found += [
            _region(observation, layout, grid, (down[r], across[c], down[r + 1], across[c + 1]))
            for r in range(len(down) - 1)
            for c in range(len(across) - 1)
        ]
    return tuple(found)


def objects(observation: Observation, layout: TokenLayout, seen: Sequence[SeenObject]) -> tuple[Feature, ...]:
    """The objects that lie on patches. Raises UserError where there are none."""
    found: list[Feature] = []
    for each in seen:
        if each.camera not in observation.images:
            continue
        pixels = each.mask if each.mask is not None else _inside(observation.images[each.camera].shape[:2], each.box)
        places = tuple(p for p, (x, y) in _centres(layout, each.camera) if _at(pixels, x, y))
        if pixels.any() and places:
            found.append(Feature(each.name, places, each.camera, pixels))
    if not found:
        raise UserError("no object of this step has a mask or box on the image; choose patches or regions instead")
    return tuple(found)


def words(observation: Observation, layout: TokenLayout) -> tuple[Feature, ...]:
    """The words of the instruction. Raises UserError where there are none."""
    found = list(re.finditer(r"\S+", observation.instruction))
    if not found:
        raise UserError("the instruction has no words that could be taken out")
    places = _words_of_tokens(layout, layout.positions(Part.INSTRUCTION).tolist(), [match[0] for match in found])
    return tuple(
        Feature(match[0], tuple(places[number]), characters=match.span()) for number, match in enumerate(found)
    )


def rationale_words(said: Prediction) -> tuple[Feature, ...]:
    """The words of the rationale that the policy wrote. Raises UserError where it wrote none."""
    parts = said.rationale.parts if said.rationale is not None else {}
    found: list[Feature] = []
    for part, text in parts.items():
        spans = [span for span in said.layout.spans if span.part is Part.RATIONALE and span.name == part]
        positions = [position for span in spans for position in range(span.start, span.stop)]
        spoken = text.split()
        places = _words_of_tokens(said.layout, positions, spoken) if spoken else []
        found += [
            Feature(word, tuple(own), spoken=(part, number))
            for number, (word, own) in enumerate(zip(spoken, places, strict=True))
        ]
    if not found:
        raise UserError("the policy wrote no rationale here, so no word can be taken out of it")
    return tuple(found)


def features(
    over: Over,
    observation: Observation,
    said: Prediction,
    *,
    camera: str | None = None,
    side: int = 4,
    seen: Sequence[SeenObject] = (),
) -> tuple[Feature, ...]:
    """What a method's setting ``over`` names; boxes that the policy wrote about count where no object is known."""
    layout = said.layout
    if over == "words":
        return words(observation, layout)
    if over == "rationale":
        return rationale_words(said)
    if over == "objects":
        return objects(observation, layout, seen or marked(said.marks))
    return (
        regions(observation, layout, camera, side) if over == "regions" else windows(observation, layout, camera, 1, 1)
    )


def marked(marks: Sequence[FrameMark]) -> tuple[SeenObject, ...]:
    """Boxes that the policy wrote about, as objects."""
    boxes = [mark for mark in marks if mark.kind == "box"]
    return tuple(SeenObject(m.camera, m.name, (m.at[0], m.at[1], m.at[2], m.at[3])) for m in boxes)


def grids(observation: Observation, layout: TokenLayout, camera: str | None) -> tuple[PatchGrid, ...]:
    """One grid a camera. An image read in several tiles has none of its own: TILED x TILED over the frame stand for it.

    Raises UserError for a camera that the policy does not read.
    """
    found: dict[str, list[PatchGrid]] = {}
    for span in layout.spans:
        if span.part is Part.IMAGE and span.grid is not None and camera in (None, span.grid.camera):
            found.setdefault(span.grid.camera, []).append(span.grid)
    if not found:
        cameras = sorted({span.name for span in layout.spans if span.part is Part.IMAGE})
        raise UserError(f"the policy reads no image {camera or ''}; it reads {', '.join(cameras) or 'none'}")
    whole: list[PatchGrid] = []
    for name, own in found.items():
        height, width = observation.images[name].shape[:2]
        tiled = PatchGrid(name, min(TILED, height), min(TILED, width), (0.0, 0.0, float(width), float(height)))
        whole.append(own[0] if len(own) == 1 else tiled)
    return tuple(whole)


class Hiding:
    """Makes observations in which some features of one are hidden."""

    def __init__(self, observation: Observation, fill: Fill, rationale: Rationale | None = None):
        """``rationale``: what the policy says to it, where words of it are to be hidden."""
        self._observation, self._rationale = observation, rationale
        self._filled = {camera: filled(frame, fill) for camera, frame in observation.images.items()}

    def __call__(self, hidden: Sequence[Feature]) -> Observation:
        """Frames and instruction that nothing is hidden of stay the same objects, so that they are read only once."""
        images = dict(self._observation.images)
        for camera in {feature.camera for feature in hidden if feature.pixels is not None}:
            pixels = np.logical_or.reduce([f.pixels for f in hidden if f.camera == camera and f.pixels is not None])
            images[camera] = np.where(pixels[:, :, None], self._filled[camera], images[camera])
        cut = sorted((f.characters for f in hidden if f.characters is not None), reverse=True)
        text = self._observation.instruction
        for start, stop in cut:
            text = text[:start] + text[stop:]
        return replace(self._observation, images=images, instruction=" ".join(text.split()) if cut else text)

    def told(self, hidden: Sequence[Feature]) -> Observation | Told:
        """The same, with the rationale that is left where words of it are hidden as well."""
        changed = self(hidden)
        silent = {feature.spoken for feature in hidden if feature.spoken is not None}
        return Told(changed, self._without(silent)) if silent else changed

    def _without(self, silent: set[tuple[str, int]]) -> Rationale:
        assert self._rationale is not None
        kept = {
            part: " ".join(word for number, word in enumerate(text.split()) if (part, number) not in silent)
            for part, text in self._rationale.parts.items()
        }
        return replace(self._rationale, parts=kept)


def filled(frame: UInt8[np.ndarray, "H W 3"], fill: Fill) -> UInt8[np.ndarray, "H W 3"]:
    """What hidden pixels become: the frame blurred (Gaussian, BLUR), its mean colour, mid-grey or black."""
    if fill == "blur":
        radius = max(frame.shape[:2]) * BLUR
        return np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius)))
    colour = {"mean": frame.mean(axis=(0, 1)).round(), "grey": np.full(3, 127), "black": np.zeros(3)}[fill]
    return np.broadcast_to(colour.astype(np.uint8), frame.shape)


def laid_out(
    layout: TokenLayout, found: Sequence[Feature], values: Float[np.ndarray, " F"], overlapping: bool = False
) -> Float[np.ndarray, " K"]:
    """One value a position. A feature's value is shared evenly by its positions, so that sums are kept.

    ``overlapping``: a position gets the mean of the features that it is part of instead, each counting whole.
    """
    total, covered = np.zeros(len(layout.tokens)), np.zeros(len(layout.tokens))
    for feature, value in zip(found, values, strict=True):
        places = list(feature.positions)
        if places:
            total[places] += value if overlapping else value / len(places)
            covered[places] += 1
    return total / np.maximum(covered, 1) if overlapping else total


def _starts(count: int, size: int, stride: int) -> list[int]:
    last = max(count - size, 0)
    return sorted({*range(0, last, stride), last})


def _edges(count: int, side: int) -> list[int]:
    return sorted({round(edge) for edge in np.linspace(0, count, min(side, count) + 1)})


def _region(
    observation: Observation, layout: TokenLayout, grid: PatchGrid, cells: tuple[int, int, int, int]
) -> Feature:
    """Rows and columns [top, bottom) x [left, right) of a grid."""
    top, left, bottom, right = cells
    x, y, far_x, far_y = grid.box
    wide, high = (far_x - x) / grid.columns, (far_y - y) / grid.rows
    box = (x + left * wide, y + top * high, x + right * wide, y + bottom * high)
    places = tuple(
        p for p, (cx, cy) in _centres(layout, grid.camera) if box[0] <= cx < box[2] and box[1] <= cy < box[3]
    )
    single = bottom - top == right - left == 1
    name = f"{grid.camera} {top},{left}" if single else f"{grid.camera} {top}-{bottom - 1},{left}-{right - 1}"
    return Feature(name, places, grid.camera, _inside(observation.images[grid.camera].shape[:2], box))


def _inside(shape: tuple[int, ...], box: Box | None) -> Bool[np.ndarray, "H W"]:
    pixels = np.zeros(shape[:2], dtype=bool)
    if box is not None:
        left, top, right, bottom = (max(round(edge), 0) for edge in box)
        pixels[top:bottom, left:right] = True
    return pixels


def _centres(layout: TokenLayout, camera: str) -> list[tuple[int, tuple[float, float]]]:
    """Every position of a camera's images and the centre of its patch on the frame."""
    found = []
    for span in layout.spans:
        if span.part is Part.IMAGE and span.grid is not None and span.grid.camera == camera:
            for index in range(span.stop - span.start):
                left, top, right, bottom = span.grid.rectangle(index)
                found.append((span.start + index, ((left + right) / 2, (top + bottom) / 2)))
    return found


def _at(pixels: Bool[np.ndarray, "H W"], x: float, y: float) -> bool:
    row, column = int(y), int(x)
    return 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1] and bool(pixels[row, column])


def _words_of_tokens(layout: TokenLayout, positions: Sequence[int], spoken: Sequence[str]) -> list[list[int]]:
    """Which ``positions`` each word has: tokens are counted along the words' characters, spaces left out."""
    surfaces = ["".join(layout.tokens[p].removesuffix(" (unknown)").split()) for p in positions]
    lengths = [len(surface) for surface in surfaces]
    ends = np.cumsum([len(word) for word in spoken])
    if sum(lengths) != ends[-1]:  # tokens that cannot be counted, such as single bytes: spread evenly
        lengths = [
            int(ends[-1] * (i + 1) / len(positions)) - int(ends[-1] * i / len(positions)) for i in range(len(positions))
        ]
    starts = np.cumsum([0, *lengths[:-1]]) if lengths else np.zeros(0)
    places: list[list[int]] = [[] for _ in spoken]
    for position, start in zip(positions, starts, strict=True):
        places[int(min(np.searchsorted(ends, start, side="right"), len(spoken) - 1))].append(position)
    return places
