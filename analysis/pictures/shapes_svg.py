"""Shapes as SVG. All words are escaped; nothing is fetched."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from analysis.pictures.drawing import printable
from analysis.pictures.shapes import LIGHT, Box, Dot, Drawing, Path, Picture, Shape, Text

FAMILY = "DejaVu Sans, Noto Sans, Segoe UI, Arial, sans-serif"


def elements(drawing: Drawing, colours: Mapping[str, str] = LIGHT) -> str:
    """What stands inside <svg>."""
    return "\n".join(line for shape in drawing.shapes for line in _element(shape, colours))


def inline(drawing: Drawing, colours: Mapping[str, str]) -> str:
    """As a part of a page, in the page's font, as wide as there is room, at most as wide as it was drawn."""
    return (
        f'<svg viewBox="0 0 {drawing.width:g} {drawing.height:g}" style="max-width: {drawing.width:g}px" role="img" '
        f"aria-label={quoteattr(printable(drawing.says))}>{elements(drawing, colours)}</svg>"
    )


def _element(shape: Shape, colours: Mapping[str, str]) -> Iterator[str]:
    def colour(name: str) -> str:
        return quoteattr(colours.get(name, name) or "none")

    if isinstance(shape, Path):
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
        dashes = ' stroke-dasharray="5 4"' if shape.dashed else ""
        yield (
            f'<polyline points="{points}" fill="none" stroke={colour(shape.colour)} stroke-width="{shape.width:g}"'
            f"{dashes}/>"
        )
    elif isinstance(shape, Dot):
        yield f'<circle cx="{shape.x:.2f}" cy="{shape.y:.2f}" r="{shape.radius:g}" fill={colour(shape.colour)}/>'
    elif isinstance(shape, Box):
        yield (
            f'<rect x="{shape.x:.2f}" y="{shape.y:.2f}" width="{shape.width:.2f}" height="{shape.height:.2f}" '
            f"fill={colour(shape.fill)} stroke={colour(shape.outline)}/>"
        )
    elif isinstance(shape, Picture):
        yield (
            f'<image x="{shape.x:.2f}" y="{shape.y:.2f}" width="{shape.width:.2f}" height="{shape.height:.2f}" '
            f'href="data:image/png;base64,{b64encode(shape.png).decode()}"/>'
        )
    elif isinstance(shape, Text):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        yield (
            f'<text x="{shape.x:.2f}" y="{shape.y:.2f}" font-size="{shape.size}" fill={colour(shape.colour)}{anchor}>'
            f"{escape(printable(shape.words))}</text>"
        )
