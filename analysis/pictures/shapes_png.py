"""Shapes as pixels."""

from __future__ import annotations

import io
import math
from itertools import pairwise

from PIL import Image, ImageDraw

from analysis.pictures.drawing import LARGEST, font, printable
from analysis.pictures.shapes import LIGHT, Box, Dot, Drawing, Path, Picture, Shape, Text
from models.errors import UserError

SCALE = 2  # pixels of the picture for one of the drawing
FINER = 2  # how much finer it is drawn at first: Pillow's lines have no soft edges
DASH, PAUSE = 5.0, 4.0


def pixels(drawing: Drawing) -> Image.Image:
    """Raises UserError if the picture would be implausibly large."""
    size = (math.ceil(drawing.width * SCALE), math.ceil(drawing.height * SCALE))
    if max(size) > LARGEST:
        raise UserError(
            f"the picture would have {size[0]} x {size[1]} pixels; at most {LARGEST} along a side are drawn, CSV, NPZ "
            "and SVG hold any number"
        )
    sheet = Image.new("RGB", (size[0] * FINER, size[1] * FINER), LIGHT["paper"])
    pen = ImageDraw.Draw(sheet)
    for shape in drawing.shapes:
        if isinstance(shape, Picture):
            _paste(sheet, shape, SCALE * FINER)
        else:
            _draw(pen, shape, SCALE * FINER)
    return sheet.reduce(FINER)


def _paste(sheet: Image.Image, shape: Picture, scale: int) -> None:
    with Image.open(io.BytesIO(shape.png)) as image:
        size = (round(shape.width * scale), round(shape.height * scale))
        sheet.paste(image.convert("RGB").resize(size), (round(shape.x * scale), round(shape.y * scale)))


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, scale: int) -> None:
    if isinstance(shape, Path):
        points = [(x * scale, y * scale) for x, y in shape.points]
        width = max(1, round(shape.width * scale))
        for piece in _dashes(points, scale) if shape.dashed else [points]:
            pen.line(piece, fill=_colour(shape.colour), width=width, joint="curve")
    elif isinstance(shape, Dot):
        x, y, radius = (value * scale for value in (shape.x, shape.y, shape.radius))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(shape.colour))
    elif isinstance(shape, Box):
        box = [v * scale for v in (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)]
        fill, outline = (_colour(name) if name else None for name in (shape.fill, shape.outline))
        pen.rectangle(box, fill=fill, outline=outline, width=scale)
    elif isinstance(shape, Text):
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
        place = (shape.x * scale, shape.y * scale)
        pen.text(place, printable(shape.words), _colour(shape.colour), font(shape.size * scale), anchor)


def _colour(name: str) -> str:
    return LIGHT.get(name, name)


def _dashes(points: list[tuple[float, float]], scale: int) -> list[list[tuple[float, float]]]:
    pieces = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length, at = math.hypot(x1 - x0, y1 - y0), 0.0
        while at < length:
            ends = (at / length, min(1.0, (at + DASH * scale) / length))
            pieces.append([(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in ends])
            at += (DASH + PAUSE) * scale
    return pieces
