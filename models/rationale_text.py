"""A generated explanation as tokens: named parts, each opened by a marker token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.config_section import ConfigSection
from models.errors import UserError
from models.types import Rationale

ORDERS = ("rationale first", "action first")
UNNAMED = "text"  # words that no marker opened


@dataclass(frozen=True)
class RationaleFormat:
    """Which marker opens which part, how long the text may be, and whether it comes before the actions."""

    parts: Mapping[str, str]  # marker token -> part name
    max_tokens: int
    order: str

    @staticmethod
    def read(section: ConfigSection) -> RationaleFormat:
        order = section.text("order", default=ORDERS[0])
        if order not in ORDERS:
            raise UserError(f"{section.where}.order is {order!r}, expected one of {', '.join(map(repr, ORDERS))}")
        parts = section.section("parts")
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


def join_parts(texts: Iterable[tuple[str, str]], author: str) -> Rationale | None:
    """Part names with their texts to a rationale; a part that comes twice is joined. None where nothing was said."""
    parts: dict[str, str] = {}
    for name, text in texts:
        parts[name] = f"{parts.get(name, '')} {text}".strip()
    return Rationale(parts, author=author) if parts else None
