"""A generated explanation as tokens: named parts, each opened by a marker token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from models.config_section import ConfigSection
from models.errors import UserError
from models.types import Rationale

ORDERS = ("rationale first", "action first")
STATED = "rationale"  # section of config.json
UNNAMED = "text"  # words that no marker opened


@dataclass(frozen=True)
class RationaleFormat:
    """Which marker opens which part, how long the text may be, and whether it comes before the actions."""

    parts: Mapping[str, str]  # marker token -> part name
    max_tokens: int
    order: str

    @staticmethod
    def read(section: ConfigSection) -> RationaleFormat:
        order, parts = _order(section), section.section("parts")
        names = {marker: parts.text(marker) for marker in parts.fields}
        return RationaleFormat(names, section.integer("max_tokens"), order)

    def marked(self, rationale: Rationale | str) -> str:
        """The text with its markers, as the policy would write it. Raises UserError for a part it does not know."""
        if isinstance(rationale, str):
            return rationale
        markers = {name: marker for marker, name in self.parts.items()}
        unknown = [name for name in rationale.parts if name not in markers and name != UNNAMED]
        if unknown:
            raise UserError(f"the policy has no rationale part {', '.join(unknown)}; it knows {', '.join(markers)}")
        return " ".join(f"{markers.get(name, '')} {text}".strip() for name, text in rationale.parts.items())

    def lowered(self, text: str) -> str:
        """``text`` in lower case, its markers untouched."""
        pattern = "|".join(re.escape(marker) for marker in self.parts) or r"(?!)"
        return re.sub(rf"({pattern})|[^<]+|<", lambda match: match[1] or match[0].lower(), text)


@dataclass(frozen=True)
class StatedRationale:
    """Section ``rationale`` of config.json: what a tuned checkpoint writes, of a family whose own files do not tell."""

    order: str
    max_tokens: int

    @staticmethod
    def read(config: ConfigSection) -> StatedRationale | None:
        """None where config.json has no such section. Raises UserError for an order that is not known."""
        if not config.has(STATED):
            return None
        section = config.section(STATED)
        return StatedRationale(_order(section), section.integer("max_tokens"))

    def as_json(self) -> dict[str, str | int]:
        return {"order": self.order, "max_tokens": self.max_tokens}


def _order(section: ConfigSection) -> str:
    order = section.text("order", default=ORDERS[0])
    if order not in ORDERS:
        raise UserError(f"{section.where}.order is {order!r}, expected one of {', '.join(map(repr, ORDERS))}")
    return order


@dataclass(frozen=True)
class PartTokens:
    """Tokens [start, stop) of the text belong to part ``name``; ``marker`` tells a part's opening token."""

    name: str
    start: int
    stop: int
    marker: bool


def split_parts(ids: Sequence[int], markers: Mapping[int, str]) -> tuple[PartTokens, ...]:
    """Cut generated ids at marker tokens; consecutive words of one part are one entry."""
    found: list[PartTokens] = []
    name = UNNAMED
    for index, token in enumerate(ids):
        if token in markers:
            name = markers[token]
            found.append(PartTokens(name, index, index + 1, marker=True))
        elif found and not found[-1].marker and found[-1].name == name:
            found[-1] = PartTokens(name, found[-1].start, index + 1, marker=False)
        else:
            found.append(PartTokens(name, index, index + 1, marker=False))
    return tuple(found)


def part_names(ids: Sequence[int], markers: Mapping[int, str]) -> list[str]:
    """The part that each of ``ids`` belongs to, and the one to come; a marker belongs to the part that it opens."""
    names = [*accumulate(ids, lambda name, token: markers.get(token, name), initial=UNNAMED)]
    return [*names[1:], names[-1]]


class PrefixEnds:
    """How many characters the first tokens of one growing text decode to; each number of them is decoded once."""

    def __init__(self, decode: Callable[[Sequence[int]], str]):
        self._decode = decode
        self._ends: list[int] = []

    def __call__(self, ids: Sequence[int]) -> list[int]:
        """For each of ``ids``, which go on as they did before, where its last character ends."""
        for count in range(len(self._ends), len(ids)):
            self._ends.append(len(self._decode(ids[: count + 1])))
        return self._ends[: len(ids)]


def join_parts(texts: Iterable[tuple[str, str]], author: str) -> Rationale | None:
    """Part names with their texts to a rationale; a part that comes twice is joined. None where nothing was said."""
    parts: dict[str, str] = {}
    for name, text in texts:
        parts[name] = f"{parts.get(name, '')} {text}".strip()
    return Rationale(parts, author=author) if parts else None
