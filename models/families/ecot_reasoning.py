"""The text of embodied chain-of-thought: tagged parts, and the boxes and points written in them. No torch.

Zawalski et al., 2024 (2407.08693). The answer begins inside TASK, as the prompt ends in that tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.errors import UserError
from models.rationale_text import join_parts
from models.types import FrameMark, Rationale

NEW_TOKENS = 1024  # at most, reasoning and action together, as in the published example
AFTER_FORCED = 16  # tokens that may follow a forced reasoning: the action, the end, and a few astray
FRAME = 256  # pixels a side of the frame that boxes and points are written in
ACTION = "action"
FIRST = "task"  # the part that an answer begins inside
PUBLISHED: Mapping[str, str] = {  # part -> tag, in the order of ECoT's training data
    "task": "TASK:",
    "plan": "PLAN:",
    "visible objects": "VISIBLE OBJECTS:",
    "subtask reasoning": "SUBTASK REASONING:",
    "subtask": "SUBTASK:",
    "move reasoning": "MOVE REASONING:",
    "move": "MOVE:",
    "gripper position": "GRIPPER POSITION:",
    ACTION: "ACTION:",
}
TAGS: Mapping[str, str] = {  # ReFineVLA's four questions, which checkpoints that are tuned here may answer
    **PUBLISHED,
    "observation": "OBSERVATION:",
    "situation": "SITUATION ANALYSIS:",
    "spatial": "SPATIAL REASONING:",
    "planning": "TASK PLANNING:",
}
PARTS = {tag: part for part, tag in TAGS.items()}
# SUBTASK: ends in TASK:, so a tag begins where no capital stands before it
TAG = re.compile(rf"(?<![A-Z])(?:{'|'.join(map(re.escape, TAGS.values()))})")
NUMBER = r"\s*-?\d+(?:\.\d+)?\s*"
BOX = re.compile(rf"(?P<name>[^\[\]]*)\[(?P<numbers>{NUMBER}(?:[,;]{NUMBER}){{3}})\]")
POINTS = re.compile(rf"\[(?P<numbers>{NUMBER}(?:[,;]{NUMBER})+)[,;]?\s*\]?[\s,;]*")

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Section:
    """Characters [start, stop) of the text belong to ``part``; its tag, where it has one, begins at ``tag``."""

    part: str
    tag: int
    start: int
    stop: int


def sections(text: str) -> tuple[Section, ...]:
    """In the order written; a part may come twice, or not at all."""
    tags = list(TAG.finditer(text))
    stops = [tag.start() for tag in tags] + [len(text)]
    found = [Section(FIRST, 0, 0, stops[0])] if stops[0] else []
    return (*found, *(Section(PARTS[t[0]], t.start(), t.end(), s) for t, s in zip(tags, stops[1:], strict=True)))


def parse(text: str, author: str) -> Rationale | None:
    """The parts that hold words. None where there are none."""
    said = [(section.part, text[section.start : section.stop].strip()) for section in sections(text)]
    return join_parts([(part, words) for part, words in said if words], author)


def forced_text(rationale: Rationale | str, known: Mapping[str, str] = PUBLISHED) -> str:
    """What stands between the prompt's TASK: and the action. Raises UserError for a part that is not ``known``."""
    if isinstance(rationale, str):
        text = rationale.strip()
    else:
        unknown = [name for name in rationale.parts if name not in known]
        if unknown:
            raise UserError(f"the policy has no rationale part {', '.join(unknown)}; it knows {', '.join(known)}")
        text = " ".join(f"{known[name]} {words}".strip() for name, words in rationale.parts.items())
    text = text.removeprefix(TAGS["task"]).strip()
    return text if any(section.part == ACTION for section in sections(text)) else f"{text} {TAGS[ACTION]}".strip()


def marks(text: str, camera: str, box: Box, frame: tuple[int, int]) -> tuple[FrameMark, ...]:
    """Boxes of VISIBLE OBJECTS and points of GRIPPER POSITION that can be read, in pixels of the original frame.

    ``box``: what the preprocessed image covers of the original frame, which is ``frame`` (height, width) large; what is
    written in a frame of 256 x 256 is stretched over it and cut at the frame's edges. The first point is where the
    gripper is, the others where it will be. What is malformed, or lies outside altogether, is left out.
    """
    found: list[FrameMark] = []
    for section in sections(text):
        words = text[section.start : section.stop]
        if section.part == "visible objects":
            found += _boxes(words, camera, box, frame)
        elif section.part == "gripper position":
            found += _points(words, camera, box, frame)
    return tuple(found)


def _boxes(words: str, camera: str, box: Box, frame: tuple[int, int]) -> list[FrameMark]:
    found: list[FrameMark] = []
    for match in BOX.finditer(words):
        x1, y1, x2, y2 = _numbers(match["numbers"])
        left, top = _on_frame(min(x1, x2), min(y1, y2), box, frame)
        right, bottom = _on_frame(max(x1, x2), max(y1, y2), box, frame)
        name = match["name"].strip(" \t\n,.;:") or "object"
        if right > left and bottom > top:
            found.append(FrameMark(camera, name, "box", (left, top, right, bottom)))
    return found


def _points(words: str, camera: str, box: Box, frame: tuple[int, int]) -> list[FrameMark]:
    found: list[FrameMark] = []
    for number, (x, y) in enumerate(_pairs(words)):
        if 0 <= x <= FRAME and 0 <= y <= FRAME:
            name = "gripper" if number == 0 else f"gripper {number} later"
            found.append(FrameMark(camera, name, "point", _on_frame(x, y, box, frame)))
    return found


def _pairs(words: str) -> Iterator[tuple[float, float]]:
    """Of the first list of numbers, as published, and of those right behind it: some write a list for each point."""
    match = POINTS.search(words)
    while match is not None:
        values = _numbers(match["numbers"])
        yield from zip(values[::2], values[1::2], strict=False)
        match = POINTS.match(words, match.end())


def _numbers(text: str) -> list[float]:
    return [float(each) for each in re.split("[,;]", text)]


def _on_frame(x: float, y: float, box: Box, frame: Sequence[int]) -> tuple[float, float]:
    left, top, right, bottom = box
    across, down = left + x / FRAME * (right - left), top + y / FRAME * (bottom - top)
    return min(max(across, 0.0), float(frame[1])), min(max(down, 0.0), float(frame[0]))
