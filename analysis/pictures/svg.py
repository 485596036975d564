"""A figure as SVG: frames and maps as embedded PNGs in layers of their own, all words as text. Nothing is fetched."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from PIL import Image

from analysis.pictures.colours import STOPS
from analysis.pictures.drawing import (
    BAR,
    GAP,
    LABEL,
    MARGIN,
    TEXT,
    TITLE,
    WIDTH,
    ends,
    frame_picture,
    line_height,
    overlay_pictures,
    printable,
    shortened,
    wrapped,
)
from analysis.pictures.figure import Figure, Mark, Panel

FAMILY = "DejaVu Sans, Noto Sans, Segoe UI, Arial, sans-serif"


def as_svg(figure: Figure, width: int = WIDTH) -> str:
    """One document, UTF-8."""
    frames = [frame_picture(panel, width) for panel in figure.panels]
    whole = sum(frame.width for frame in frames) + GAP * (len(frames) - 1) + 2 * MARGIN
    lines = wrapped(figure.caption, whole - 2 * MARGIN - 8)
    titles = TITLE + 10 if any(panel.title for panel in figure.panels) else 0
    body, legends = max(frame.height for frame in frames), BAR + TEXT + 14
    height = MARGIN + titles + body + legends + len(lines) * line_height() + MARGIN
    title = escape(printable(figure.caption[0] if figure.caption else ""))
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{height}" viewBox="0 0 {whole} {height}"'
        f' font-family={quoteattr(FAMILY)} role="img">',
        f"<title>{title}</title>",
        f"<desc>{escape(printable(' '.join(figure.caption)))}</desc>",
        f"<metadata>{escape(json.dumps(dict(figure.facts), ensure_ascii=True, default=str))}</metadata>",
        f"<defs>{''.join(_gradient(name) for name in dict.fromkeys(_maps(figure)))}</defs>",
        f'<rect width="{whole}" height="{height}" fill="#ffffff"/>',
    ]
    left = MARGIN
    for panel, frame in zip(figure.panels, frames, strict=True):
        if panel.title:
            out.append(_text(left, MARGIN + TITLE, shortened(panel.title, frame.width, TITLE), TITLE, "#111418"))
        out += _panel(figure, panel, frame, left, MARGIN + titles)
        left += frame.width + GAP
    first = MARGIN + titles + body + legends + TEXT
    out += [_text(MARGIN, first + k * line_height(), line, TEXT, "#111418") for k, line in enumerate(lines)]
    return "\n".join([*out, "</svg>", ""])


def _panel(figure: Figure, panel: Panel, frame: Image.Image, left: int, top: int) -> Iterator[str]:
    scale = frame.width / panel.frame.shape[1]
    yield f'<svg x="{left}" y="{top}" width="{frame.width}" height="{frame.height}" overflow="hidden">'
    yield _image(frame, 0, 0, frame.width, frame.height)
    for picture, (x0, y0, x1, y1) in overlay_pictures(figure, panel):
        extra = f' opacity="{figure.opacity:g}"' + ("" if figure.smooth else ' image-rendering="pixelated"')
        yield _image(picture, x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale, extra)
    for mark in panel.marks:
        yield _mark(mark, scale)
    yield "</svg>"
    below = top + frame.height + 6
    if panel.overlays:
        map = panel.map(figure.colours)
        yield f'<rect x="{left}" y="{below}" width="{frame.width}" height="{BAR}" fill="url(#{map})"/>'
        low, high = ends(panel)
        yield _text(left, below + BAR + TEXT, low, TEXT, "#5a626c")
        yield _text(left + frame.width, below + BAR + TEXT, high, TEXT, "#5a626c", ' text-anchor="end"')
    elif panel.why:
        yield _text(left, below + TEXT, shortened(panel.why, frame.width, TEXT), TEXT, "#5a626c")


def _mark(mark: Mark, scale: float) -> str:
    at = [side * scale for side in mark.at]
    left, top = min(at[0], at[-2]), min(at[1], at[-1])
    colour, dashes = (mark.colour, "") if mark.colour else ("#111418", ' stroke-dasharray="7 4"')
    if len(at) == 4:
        shape = (
            f'<rect x="{left:g}" y="{top:g}" width="{abs(at[2] - at[0]):g}" height="{abs(at[3] - at[1]):g}" fill="none"'
        )
        drawn = (
            f'{shape} stroke="#ffffff" stroke-width="4"/>{shape} stroke={quoteattr(colour)} stroke-width="2"{dashes}/>'
        )
    else:
        drawn = "".join(
            f'<circle cx="{left:g}" cy="{top:g}" r="{radius}" fill={quoteattr(fill)}/>'
            for radius, fill in ((7, "#ffffff"), (5, colour), (2, "#ffffff"))
        )
    halo = ' font-weight="600" stroke="#14181e" stroke-width="4" paint-order="stroke"'
    return drawn + _text(max(4.0, left + 4), max(14.0, top + 14), mark.name[:60], LABEL, "#ffffff", halo)


def _maps(figure: Figure) -> Iterator[str]:
    for panel in figure.panels:
        if panel.overlays:
            yield panel.map(figure.colours)


def _gradient(name: str) -> str:
    stops = STOPS[name].split()
    parts = (f'<stop offset="{k / (len(stops) - 1):.4f}" stop-color="#{stop}"/>' for k, stop in enumerate(stops))
    return f'<linearGradient id="{name}">{"".join(parts)}</linearGradient>'


def _image(picture: Image.Image, x: float, y: float, width: float, height: float, extra: str = "") -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    data = base64.b64encode(out.getvalue()).decode()
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" preserveAspectRatio="none"{extra}'
        f' href="data:image/png;base64,{data}"/>'
    )


def _text(x: float, y: float, words: str, size: int, colour: str, extra: str = "") -> str:
    said = escape(printable(words))
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{extra}>{said}</text>'
