"""A figure as pixels: panels side by side, a colour bar under each, the caption below, all on white."""

from __future__ import annotations

import functools
from bisect import bisect_right
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from analysis.pictures.colours import coloured, enlarged, places
from analysis.pictures.figure import Figure, Panel
from models.errors import UserError

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WIDTH = 512  # pixels of a panel, unless its frame is larger
LARGEST = 8_000  # pixels along a side of the whole
MARGIN, GAP, BAR = 16, 12, 12
TEXT, TITLE, LABEL = 15, 16, 13  # pixels
SIGNS_PER_PIXEL = 4  # of a text that is cut to a width, no more are measured: it may have megabytes
INK, QUIET, PAPER = (17, 20, 24), (90, 98, 108), (255, 255, 255)
FONTS = (  # the first that is there; else the one that comes with Pillow, which has fewer scripts
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "C:/Windows/Fonts/segoeui.ttf",
)


def drawn(figure: Figure, width: int = WIDTH) -> Image.Image:
    """The whole figure. Raises UserError if it would be implausibly large."""
    pictures = [panel_picture(figure, panel, width) for panel in figure.panels]
    whole = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1) + 2 * MARGIN
    lines = wrapped(figure.caption, whole - 2 * MARGIN)
    titles = TITLE + 10 if any(panel.title for panel in figure.panels) else 0
    legends = BAR + TEXT + 14
    body = max(picture.height for picture in pictures)
    height = MARGIN + titles + body + legends + len(lines) * line_height() + MARGIN
    if max(whole, height) > LARGEST:
        raise UserError(f"the picture would have {whole} x {height} pixels; at most {LARGEST} along a side are drawn")
    sheet = Image.new("RGB", (whole, height), PAPER)
    pen, left = ImageDraw.Draw(sheet), MARGIN
    for panel, picture in zip(figure.panels, pictures, strict=True):
        if panel.title:
            pen.text((left, MARGIN), shortened(panel.title, picture.width, TITLE), INK, font(TITLE))
        sheet.paste(picture, (left, MARGIN + titles))
        below = MARGIN + titles + picture.height + 6
        if panel.overlays:
            _legend(sheet, pen, figure, panel, (left, below, picture.width))
        elif panel.why:
            pen.text((left, below), shortened(panel.why, picture.width, TEXT), QUIET, font(TEXT))
        left += picture.width + GAP
    for number, line in enumerate(lines):
        pen.text((MARGIN, MARGIN + titles + body + legends + number * line_height()), line, INK, font(TEXT))
    return sheet


def panel_picture(figure: Figure, panel: Panel, width: int = WIDTH) -> Image.Image:
    """A frame with its maps."""
    base = frame_picture(panel, width)
    scale = base.width / panel.frame.shape[1]
    for picture, (left, top, right, bottom) in overlay_pictures(figure, panel):
        size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
        resized = picture.resize(size, Image.Resampling.BILINEAR if figure.smooth else Image.Resampling.NEAREST)
        resized.putalpha(resized.getchannel("A").point(lambda alpha: round(alpha * figure.opacity)))
        layer = Image.new("RGBA", base.size)
        layer.paste(resized, (round(left * scale), round(top * scale)))
        base = Image.alpha_composite(base.convert("RGBA"), layer)
    picture = base.convert("RGB")
    _marks(ImageDraw.Draw(picture), panel, scale)
    return picture


def frame_picture(panel: Panel, width: int = WIDTH) -> Image.Image:
    frame = Image.fromarray(panel.frame)
    if panel.grey:
        frame = frame.convert("L").point(lambda value: round(0.8 * value)).convert("RGB")
    scale = max(1.0, width / frame.width)
    return frame.resize((round(frame.width * scale), round(frame.height * scale)), Image.Resampling.BICUBIC)


def overlay_pictures(figure: Figure, panel: Panel) -> list[tuple[Image.Image, tuple[float, float, float, float]]]:
    """Each map in colours, and where it lies in pixels of the frame."""
    out = []
    for overlay in panel.overlays:
        rows, columns = overlay.values.shape
        factor = max(1, min(12, 320 // max(rows, columns))) if figure.smooth else 1
        grid = enlarged(overlay.values, rows * factor, columns * factor, figure.smooth)
        map = panel.map(figure.colours)
        pixels: UInt8[np.ndarray, "r c 4"] = coloured(map, places(grid, panel.full, panel.signed))
        out.append((Image.fromarray(pixels, "RGBA"), overlay.box))
    return out


def number(value: float, unit: str) -> str:
    """A value as a person reads it."""
    if unit != "share":
        return f"{value:.3g}"
    if value == 0:
        return "0 %"
    if abs(value) < 0.001:
        return "< 0.1 %"
    return f"{100 * value:.{1 if abs(value) < 0.1 else 0}f} %"


def ends(panel: Panel) -> tuple[str, str]:
    """What stands at the two ends of a colour bar."""
    high = number(panel.full, panel.unit)
    return (f"−{high}", f"+{high}") if panel.signed else ("0", high)


def wrapped(paragraphs: tuple[str, ...], width: int, size: int = TEXT) -> list[str]:
    """Lines that fit ``width`` pixels; words that do not fit alone are broken."""
    lines: list[str] = []
    for paragraph in paragraphs:
        line = ""
        for word in printable(paragraph).split(" "):
            for piece in _pieces(word, width, size):
                longer = f"{line} {piece}" if line else piece
                if not line or font(size).getlength(longer) <= width:
                    line = longer
                else:
                    lines.append(line)
                    line = piece
        lines.append(line)
    return lines


def shortened(text: str, width: int, size: int) -> str:
    """The text, or as much of its start as fits ``width`` pixels with a mark after it."""
    start = printable(text[: SIGNS_PER_PIXEL * width])
    if len(start) == len(text) and font(size).getlength(start) <= width:
        return start
    kept = bisect_right(
        range(1, len(start) + 1), float(width), key=lambda count: font(size).getlength(start[:count] + "…")
    )
    return start[:kept] + "…"


def width_of(text: str, size: int, most: int) -> float:
    """Pixels that the text takes in one line, at most ``most``; however long it is, only its start is measured."""
    return min(most, font(size).getlength(printable(text[: SIGNS_PER_PIXEL * most])))


def printable(text: str) -> str:
    """Text without line breaks and control characters, which a data set may hold anywhere."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def line_height(size: int = TEXT) -> int:
    return size + 6


@functools.cache
def font(size: int) -> Font:
    for path in FONTS:
        if Path(path).is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def _pieces(word: str, width: int, size: int) -> list[str]:
    pieces = [""]
    for sign in word:
        if pieces[-1] and font(size).getlength(pieces[-1] + sign) > width:
            pieces.append("")
        pieces[-1] += sign
    return pieces


def _marks(pen: ImageDraw.ImageDraw, panel: Panel, scale: float) -> None:
    for mark in panel.marks:
        at = [side * scale for side in mark.at]
        inner, outer = (mark.colour, "#000000") if mark.colour else ("#111418", "#ffffff")
        if len(at) == 4:
            box = (min(at[0], at[2]), min(at[1], at[3]), max(at[0], at[2]), max(at[1], at[3]))
            pen.rectangle(box, outline=outer, width=4)
            pen.rectangle(box, outline=inner, width=2)
        else:
            box = (at[0], at[1], at[0], at[1])
            for radius, colour in ((7, outer), (5, inner), (2, outer)):
                pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)
        words = printable(mark.name)[:60]
        wide = font(LABEL).getlength(words) + 8
        left = max(0.0, min(box[0], panel.frame.shape[1] * scale - wide))
        pen.rectangle((left, max(0.0, box[1]), left + wide, max(0.0, box[1]) + LABEL + 5), fill="#14181e")
        pen.text((left + 4, max(0.0, box[1]) + 1), words, "#ffffff", font(LABEL))


def _legend(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, figure: Figure, panel: Panel, place: tuple[int, int, int]
) -> None:
    left, top, width = place
    map = panel.map(figure.colours)
    bar = coloured(map, np.linspace(0, 1, width)[None, :], opaque=True)[:, :, :3]
    sheet.paste(Image.fromarray(np.ascontiguousarray(bar)).resize((width, BAR)), (left, top))
    low, high = ends(panel)
    pen.text((left, top + BAR + 2), low, QUIET, font(TEXT))
    pen.text((left + width - font(TEXT).getlength(high), top + BAR + 2), high, QUIET, font(TEXT))
