"""A drawing as a few kinds of shapes, in pixels: what SVG and PNG are both made of. Nothing here draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

# Colours are these names, so that a page can give them its own; or #rrggbb.
LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "ink": "#111418",
        "quiet": "#5a626c",
        "line": "#d5dbe3",
        "paper": "#ffffff",
        "first": "#0f86c4",
        "second": "#d9730d",
        "open": "#8c95a3",
    }
)

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str = "line"
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    radius: float
    colour: str = "first"


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    fill: str = ""  # "": none
    outline: str = ""


@dataclass(frozen=True)
class Text:
    x: float
    y: float  # of the baseline
    words: str
    size: int = 13
    colour: str = "ink"
    anchor: Anchor = "start"


@dataclass(frozen=True)
class Picture:
    x: float
    y: float
    width: float
    height: float
    png: bytes


Shape = Path | Dot | Box | Text | Picture


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    shapes: tuple[Shape, ...]
    says: str = ""  # in words, for who cannot see it


def moved(shapes: Iterable[Shape], x: float, y: float) -> tuple[Shape, ...]:
    """The same further right and down."""
    return tuple(_moved(shape, x, y) for shape in shapes)


def _moved(shape: Shape, x: float, y: float) -> Shape:
    if isinstance(shape, Path):
        return replace(shape, points=tuple((a + x, b + y) for a, b in shape.points))
    return replace(shape, x=shape.x + x, y=shape.y + y)


def stacked(*drawings: Drawing, gap: float = 18.0) -> Drawing:
    """One below the other."""
    shapes: list[Shape] = []
    top = 0.0
    for drawing in drawings:
        shapes += moved(drawing.shapes, 0, top)
        top += drawing.height + gap
    says = "; ".join(drawing.says for drawing in drawings if drawing.says)
    return Drawing(max(drawing.width for drawing in drawings), top - gap, tuple(shapes), says)


def beside(*drawings: Drawing, gap: float = 24.0) -> Drawing:
    """One after the other."""
    shapes: list[Shape] = []
    left = 0.0
    for drawing in drawings:
        shapes += moved(drawing.shapes, left, 0)
        left += drawing.width + gap
    says = "; ".join(drawing.says for drawing in drawings if drawing.says)
    return Drawing(left - gap, max(drawing.height for drawing in drawings), tuple(shapes), says)


def mixed(colour: str, share: float) -> str:
    """``share`` (0 to 1) of a colour on white, as #rrggbb."""
    part = min(1.0, max(0.0, share if share == share else 0.0))
    own = LIGHT.get(colour, colour)
    return "#" + "".join(f"{round(255 + part * (int(own[k : k + 2], 16) - 255)):02x}" for k in (1, 3, 5))
