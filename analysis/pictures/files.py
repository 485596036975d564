"""Figures as files: the name's ending says the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from analysis.atomic_file import replaced
from analysis.pictures.drawing import WIDTH, drawn, printable
from analysis.pictures.figure import Figure
from analysis.pictures.svg import as_svg
from models.errors import UserError

MAX_GIF_FRAMES = 2_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a text for a formula


def png(figure: Figure, width: int = WIDTH) -> bytes:
    """The caption stands in the picture, and as text in the file: ``Description``, and as JSON ``vla-lens``."""
    return saved_png(drawn(figure, width), figure.caption, figure.facts)


def saved_png(picture: Image.Image, caption: Sequence[str], facts: Mapping[str, object]) -> bytes:
    """With the caption and all facts as text in the file."""
    about = PngImagePlugin.PngInfo()
    about.add_itxt("Description", "\n".join(map(printable, caption)))
    about.add_itxt("vla-lens", json.dumps(dict(facts), default=str))
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=about)
    return out.getvalue()


def svg(figure: Figure, width: int = WIDTH) -> bytes:
    return as_svg(figure, width).encode("utf-8", "replace")


def npz(figure: Figure, width: int = WIDTH) -> bytes:
    """Values and places of the patches, rows over the sequence with their tokens, and the caption; no pickle."""
    out = io.BytesIO()
    words = {
        "caption": np.array("\n".join(figure.caption)),
        "facts": np.array(json.dumps(dict(figure.facts), default=str)),
    }
    np.savez_compressed(out, allow_pickle=False, **words, **figure.arrays)
    return out.getvalue()


def table(figure: Figure, width: int = WIDTH) -> bytes:
    """A line a patch: where it lies in pixels of the frame, and its value; the caption in lines that begin with #."""
    out = io.StringIO()
    for line in figure.caption:
        out.write(f"# {printable(line)}\n")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["panel", "part", "row", "column", "left", "top", "right", "bottom", "value"])
    for panel in figure.panels:
        for part, overlay in enumerate(panel.overlays):
            count, across = overlay.values.shape
            left, top, right, bottom = overlay.box
            wide, high = (right - left) / across, (bottom - top) / count
            for (row, column), value in np.ndenumerate(overlay.values):
                box = (left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high)
                rows.writerow([cell(panel.title), part, row, column, *(f"{side:g}" for side in box), f"{value:.9g}"])
    return out.getvalue().encode("utf-8", "replace")


PICTURES: Mapping[str, Callable[[Figure, int], bytes]] = {".png": png, ".svg": svg, ".csv": table, ".npz": npz}
FILMS = (".mp4", ".gif")


def write_picture(figure: Figure, path: Path, width: int = WIDTH) -> None:
    """Raises UserError for an ending that is no picture's, or where nothing can be written."""
    make = PICTURES.get(path.suffix.lower())
    if make is None:
        raise UserError(f"{path.name} names no picture; expected a name that ends in {', '.join(PICTURES)}")
    write_bytes(path, make(figure, width))


def write_bytes(path: Path, data: bytes) -> None:
    """The whole file or none. Raises UserError where nothing can be written."""
    try:
        with replaced(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def write_film(
    figures: Iterable[Figure],
    path: Path,
    fps: float,
    width: int = WIDTH,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """An MP4 (H.264) or GIF of figures, one a step, at ``fps`` of them a second; how many there were.

    The first step's caption stands in the file as its comment. Raises UserError for another ending, for no figure, or
    where nothing can be written.
    """
    if path.suffix.lower() not in FILMS:
        raise UserError(f"{path.name} names no film; expected a name that ends in {' or '.join(FILMS)}")
    rest = iter(figures)
    first = next(rest, None)
    if first is None:
        raise UserError("a film needs at least one step")
    sheets = _told(_same_size(drawn(figure, width) for figure in chain([first], rest)), progress)
    comment = "\n".join(map(printable, ("First step:", *first.caption)))
    write = _mp4 if path.suffix.lower() == ".mp4" else _gif
    try:
        with replaced(path) as part:
            return write(sheets, part, fps, comment)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


def _mp4(sheets: Iterable[Image.Image], path: Path, fps: float, comment: str) -> int:
    import av

    count = 0
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for sheet in sheets:
            if not count:
                stream.width, stream.height = sheet.width, sheet.height
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(sheet), format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count


def _gif(sheets: Iterable[Image.Image], path: Path, fps: float, comment: str) -> int:
    frames = []
    for sheet in sheets:
        frames.append(sheet.quantize(255, dither=Image.Dither.NONE))
        if len(frames) > MAX_GIF_FRAMES:
            raise UserError(f"a GIF of more than {MAX_GIF_FRAMES} steps is too large; choose fewer, or an MP4")
    each = max(20, round(1000 / fps))  # milliseconds; browsers show shorter ones slowly
    about = comment.encode("utf-8", "replace")
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=each, loop=0, comment=about)
    return len(frames)


def _same_size(sheets: Iterable[Image.Image]) -> Iterable[Image.Image]:
    """Captions differ in length: all get the first's size and two lines more, with even sides as H.264 asks."""
    size: tuple[int, int] | None = None
    for sheet in sheets:
        if size is None:
            size = (sheet.width + sheet.width % 2, (sheet.height + 44) // 2 * 2)
        whole = Image.new("RGB", size, (255, 255, 255))
        whole.paste(sheet, (0, 0))
        yield whole


def _told(sheets: Iterable[Image.Image], progress: Callable[[int], None]) -> Iterable[Image.Image]:
    for number, sheet in enumerate(sheets, 1):
        yield sheet
        progress(number)


def cell(text: str) -> str:
    """Text that a spreadsheet takes for text, and that fits a line."""
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULA) else text
