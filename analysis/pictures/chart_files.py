"""Charts and tables as files, each with its caption: the name's ending says the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from analysis.pictures.chart import Chart
from analysis.pictures.drawing import line_height, printable, wrapped
from analysis.pictures.files import cell, saved_png, write_bytes
from analysis.pictures.shapes import Box, Drawing, Text, moved
from analysis.pictures.shapes_png import pixels
from analysis.pictures.shapes_svg import FAMILY, elements
from models.errors import UserError

TAKEN = ("caption", "facts", "file", "allow_pickle")  # by us, and by NumPy's own arguments
MARGIN, TITLE, TEXT, NARROWEST = 20, 16, 13, 640  # pixels


def sheet(chart: Chart) -> Drawing:
    """On white, with the title above and the caption below. Raises UserError for one that is drawn elsewhere."""
    if chart.drawing is None:
        raise UserError(f"the chart {chart.provenance.title!r} is drawn by the browser; here are its CSV and NPZ")
    title, *rest = chart.provenance.caption
    width = max(NARROWEST, chart.drawing.width + 2 * MARGIN)
    room = round(width) - 2 * MARGIN
    heads, lines = wrapped((title,), room, TITLE), wrapped(tuple(rest), room - 8, TEXT)
    top = MARGIN + len(heads) * line_height(TITLE) + 8
    below = top + chart.drawing.height + 12
    height = below + len(lines) * line_height(TEXT) + MARGIN
    words = [
        *(Text(MARGIN, MARGIN + TITLE + k * line_height(TITLE), line, TITLE) for k, line in enumerate(heads)),
        *(Text(MARGIN, below + TEXT + k * line_height(TEXT), line, TEXT, "quiet") for k, line in enumerate(lines)),
    ]
    shapes = (Box(0, 0, width, height, "paper"), *moved(chart.drawing.shapes, MARGIN, top), *words)
    return Drawing(width, height, shapes, chart.drawing.says)


def svg(chart: Chart) -> bytes:
    """The caption is drawn, and stands again in <desc>, all facts as JSON in <metadata>."""
    drawn, about = sheet(chart), chart.provenance
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawn.width:g}" height="{drawn.height:g}" '
        f'viewBox="0 0 {drawn.width:g} {drawn.height:g}" font-family={quoteattr(FAMILY)} role="img">'
    )
    said = "\n".join(
        (
            head,
            f"<title>{escape(printable(about.title))}</title>",
            f"<desc>{escape(printable(' · '.join(about.caption)))}</desc>",
            f"<metadata>{escape(json.dumps(about.facts, default=str))}</metadata>",
            elements(drawn),
            "</svg>\n",
        )
    )
    return said.encode("utf-8", "replace")


def png(chart: Chart) -> bytes:
    return saved_png(pixels(sheet(chart)), chart.provenance.caption, chart.provenance.facts)


def table(chart: Chart) -> bytes:
    """The caption, and all facts as JSON, in lines that begin with #; then the columns."""
    out = io.StringIO()
    for line in chart.provenance.caption:
        out.write(f"# {printable(line)}\n")
    out.write(f"# vla-lens {json.dumps(chart.provenance.facts, default=str)}\n")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(map(cell, chart.columns))
    for row in zip(*chart.columns.values(), strict=True):
        rows.writerow(["" if value is None else cell(value) if isinstance(value, str) else value for value in row])
    return out.getvalue().encode("utf-8", "replace")


def npz(chart: Chart) -> bytes:
    """An array a column, under its name; ``caption`` and ``facts`` beside them; no pickle."""
    out = io.BytesIO()
    about = chart.provenance
    words = {"caption": np.array("\n".join(about.caption)), "facts": np.array(json.dumps(about.facts, default=str))}
    columns = {_array_name(name): _array(values) for name, values in chart.columns.items()}
    np.savez_compressed(out, allow_pickle=False, **{**columns, **chart.arrays, **words})
    return out.getvalue()


CHARTS: Mapping[str, Callable[[Chart], bytes]] = {".png": png, ".svg": svg, ".csv": table, ".npz": npz}


def check_ending(path: Path, more: Sequence[str] = ()) -> None:
    """Raises UserError, before any work, for a name under which no chart can be written."""
    endings = (*CHARTS, *more)
    if path.suffix.lower() not in endings:
        raise UserError(f"{path.name} names no format; expected a name that ends in {', '.join(endings)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the file to write")


def write_chart(chart: Chart, path: Path) -> None:
    """Raises UserError for another ending, or where nothing can be written."""
    check_ending(path)
    write_bytes(path, CHARTS[path.suffix.lower()](chart))


def _array_name(column: str) -> str:
    """As a column is called in an NPZ, where some names are taken and a slash would be a folder."""
    return f"{column} " if column in TAKEN else column.replace("/", " ")


def _array(values: Sequence[object]) -> np.ndarray:
    """Numbers as numbers, with nan where one is missing; anything else as text."""
    if all(value is None or isinstance(value, (bool, int, float, np.number)) for value in values):
        return np.array([np.nan if value is None else value for value in values])
    return np.array(["" if value is None else str(value) for value in values])
