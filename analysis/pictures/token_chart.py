"""Words and action tokens as chips, shaded by how much of the query's row they receive: the player's strips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.drawing import font, number, printable
from analysis.pictures.panels import Shown, row_of, shown_camera
from analysis.pictures.rows import looking_at_patch
from analysis.pictures.shapes import Box, Drawing, Path, Shape, Text, mixed, moved, stacked
from analysis.pictures.step_view import STRONGEST, WIDTH, headed, nothing, step_provenance
from analysis.pictures.view import View
from analysis.types import EpisodeMeta
from models.errors import UserError
from models.types import RATIONALE_TITLES, Part, Span, TokenLayout

LEFT, ROW, SIZE = 150, 26, 13  # pixels
TITLES = {Part.INSTRUCTION: "Instruction", Part.STATE: "State", Part.ACTION: "Actions"}
ORDER = (Part.INSTRUCTION, Part.STATE, Part.RATIONALE, Part.ACTION)
COLOURS = {  # the player's
    Part.IMAGE: "#6f7b8d",
    Part.INSTRUCTION: "#0072b2",
    Part.STATE: "#009e73",
    Part.RATIONALE: "#9a5fb5",
    Part.ACTION: "#d9730d",
}
SINK = "#b9bec7"
KINDS = {Part.SPECIAL: "sink", Part.PROMPT: "sink"}  # where much attention rests and says nothing about the input


@dataclass(frozen=True)
class _Strips:
    layout: TokenLayout
    values: Mapping[int, float]  # by position
    said: str  # method and query
    texts: Mapping[int, str]  # what action tokens mean
    probabilities: Mapping[int, float]  # with which what was written was generated
    unit: str  # "share": values are parts of one row


def token_chart(meta: EpisodeMeta, step: int, shown: Sequence[Shown], view: View) -> Chart:
    """Of one policy or two, one below the other; its data hold every position of the sequence, patches too."""
    drawings, rows, said = [], [], ""
    for who in shown:
        try:
            found = _strips(who, view, shown_camera(meta, shown, view))
        except UserError as error:
            drawings.append(headed(who.name, nothing(str(error)), len(shown) > 1))
            continue
        said = said or found.said
        drawings.append(headed(who.name, strips(found), len(shown) > 1))
        rows += list(_rows(who, found))
    about = step_provenance("Words and actions", meta, step, shown, view, said, f"{len(rows)} positions")
    return Chart(about, columns_of(rows), stacked(*drawings) if drawings else nothing("No policy was chosen."))


def strips(found: _Strips) -> Drawing:
    """Where the row goes as a bar, then a strip a part; what speaks against the target is orange."""
    inside = [span for span in found.layout.spans if span.part in ORDER]
    top = max((abs(found.values.get(k, 0.0)) for span in inside for k in range(span.start, span.stop)), default=0.0)
    shapes, y = _shares(found)
    for (_, title), spans in sorted(_grouped(inside).items(), key=lambda each: each[0][0]):
        shapes.append(Text(LEFT - 14, y + 17, title, 12, "quiet", "end"))
        chips, height = _chips(found, spans, top or 1.0)
        shapes += moved(chips, LEFT, y)
        y += height + 6
    strongest = number(top, found.unit)
    shapes.append(Text(LEFT, y + 14, f"Strongest colour: {strongest}", 12, "quiet"))
    return Drawing(WIDTH, y + 22, tuple(shapes), "Tokens shaded by the row")


def _strips(who: Shown, view: View, camera: str) -> _Strips:
    said = who.prediction
    if view.patch >= 0 and said is not None:
        own = who.own(view, camera)
        try:
            values: Mapping[int, float] = looking_at_patch(said, own)
            row = row_of(who, view, camera)
            words = f"{row.words.split(' · query')[0]} · how much each looks at patch {view.patch}"
            return _Strips(row.layout, values, words, _texts(who, row.layout), _probabilities(who, row.layout), "share")
        except UserError:
            pass  # a vision tower is asked the other way round
    row = row_of(who, view, camera)
    found = dict(enumerate(row.values.tolist()))
    unit = "share" if row.share else ""
    return _Strips(row.layout, found, row.words, _texts(who, row.layout), _probabilities(who, row.layout), unit)


def _texts(who: Shown, layout: TokenLayout) -> dict[int, str]:
    """An action token's dimension and value, where it says one alone."""
    if who.prediction is None:
        return {}
    start, out = len(layout.tokens) - who.prediction.written, {}
    told: dict[int, list[str]] = {}
    for each in who.prediction.action_distribution:
        if each.step < len(who.prediction.actions) and each.name in who.prediction.action_names:
            value = who.prediction.actions[each.step, who.prediction.action_names.index(each.name)]
            told.setdefault(start + each.token, []).append(f"{each.name} {value:+.3f}")
    for position, words in told.items():
        if len(words) == 1:
            out[position] = words[0]
    return out


def _probabilities(who: Shown, layout: TokenLayout) -> dict[int, float]:
    if who.prediction is None:
        return {}
    start = len(layout.tokens) - who.prediction.written
    return {start + k: float(np.exp(value)) for k, value in enumerate(who.prediction.token_logprobs)}


def _grouped(spans: Sequence[Span]) -> dict[tuple[int, str], list[Span]]:
    groups: dict[tuple[int, str], list[Span]] = {}
    for span in spans:
        title = TITLES.get(span.part) or RATIONALE_TITLES.get(span.name, span.name.capitalize())
        groups.setdefault((ORDER.index(span.part), title), []).append(span)
    return groups


def _chips(found: _Strips, spans: Sequence[Span], top: float) -> tuple[list[Shape], float]:
    shapes: list[Shape] = []
    x, y = 0.0, 0.0
    for position in (k for span in spans for k in range(span.start, span.stop)):
        words = found.texts.get(position, _clean(found.layout.tokens[position]))
        wide = font(SIZE).getlength(words) + 8
        if x and x + wide > WIDTH - LEFT:
            x, y = 0.0, y + ROW
        value = found.values.get(position, 0.0)
        colour = mixed("first" if value >= 0 else "second", STRONGEST * abs(value) / top)
        shapes += [Box(x, y, wide, ROW - 4, colour), Text(x + 4, y + 16, words, SIZE)]
        x += wide + 2
    return shapes, y + ROW


def _shares(found: _Strips) -> tuple[list[Shape], float]:
    """Image, instruction and so on, each with its part of the row; nothing where values are no parts of one row."""
    sums: dict[str, float] = {}
    colours: dict[str, str] = {}
    for span in found.layout.spans:
        kind = KINDS.get(span.part, span.part.value)
        kind = f"image {span.grid.camera}" if span.grid and _several(found.layout) else kind
        colours[kind] = COLOURS.get(span.part, SINK)
        sums[kind] = sums.get(kind, 0.0) + sum(abs(found.values.get(k, 0.0)) for k in range(span.start, span.stop))
    total = sum(sums.values())
    if found.unit != "share" or total < 0.5:
        return [], 0.0
    shapes: list[Shape] = [Text(LEFT - 14, 15, "The row goes to", 12, "quiet", "end")]
    x = float(LEFT)
    for kind, value in sums.items():
        wide = (WIDTH - LEFT) * value / total
        shapes.append(Box(x, 4, max(0.0, wide - 1), 12, colours[kind]))
        x += wide
    at = float(LEFT)
    for kind, value in sums.items():
        words = f"{kind} {number(value / total, 'share')}"
        shapes += [Box(at, 25, 9, 9, colours[kind]), Text(at + 14, 34, words, 12, "quiet")]
        at += font(12).getlength(words) + 30
    shapes.append(Path(((0, 46), (WIDTH, 46)), "line"))
    return shapes, 54.0


def _several(layout: TokenLayout) -> bool:
    return len({span.grid.camera for span in layout.spans if span.grid}) > 1


def _rows(who: Shown, found: _Strips) -> Iterator[dict[str, object]]:
    for span in found.layout.spans:
        for position in range(span.start, span.stop):
            yield {
                "model": who.name,
                "position": position,
                "part": span.part.value,
                "name": span.name,
                "token": found.layout.tokens[position],
                "says": found.texts.get(position, ""),
                "value": found.values.get(position),
                "probability": found.probabilities.get(position),
            }


def _clean(text: str) -> str:
    return printable(text.replace("▁", " ")).strip() or "␣"
