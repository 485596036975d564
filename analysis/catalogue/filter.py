"""Which episodes are wanted and in which order: values for a link or a form, and their SQL."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from analysis.catalogue.rows import in_split

COLUMNS = ("position", "data set", "id", "instruction", "task", "robot", "length", "duration", "success", "rationale")
SORTED = {name: name for name in COLUMNS[2:-1]} | {"rationale": "has_rationale"}  # column -> the table's


@dataclass(frozen=True)
class Filter:
    """Episodes for which all of this holds; the default lets every one pass, broken ones included."""

    text: str = ""  # words, or beginnings of words, of instruction, id or task; all of them, in any order
    datasets: tuple[str, ...] = ()  # none: all
    shortest: int | None = None  # steps; with a bound on length broken episodes do not pass
    longest: int | None = None  # steps
    success: Literal["", "yes", "no", "unrecorded"] = ""
    has_rationale: bool | None = None
    split: str = ""  # the whole name of a split or filter mask of the data set, such as train
    broken: bool | None = None


@dataclass(frozen=True)
class Order:
    """``position`` is the order in which a data set lists its episodes. What a column lacks comes last."""

    column: str = "position"  # one of COLUMNS
    descending: bool = False


def conditions(filter: Filter) -> tuple[str, list[Any]]:
    """A WHERE expression over the table ``episodes``, and its arguments."""
    wanted: list[str] = ["1"]
    given: list[Any] = []
    if text := filter.text.strip():
        expression, arguments = _containing(text)
        wanted.append(expression)
        given += arguments
    for bound, sign in ((filter.shortest, ">="), (filter.longest, "<=")):
        if bound is not None:
            wanted.append(f"length {sign} ?")
            given.append(bound)
    if filter.success == "unrecorded":
        wanted.append("success IS NULL AND broken IS NULL")
    elif filter.success:
        wanted.append("success = ?")
        given.append(filter.success == "yes")
    if filter.has_rationale is not None:
        wanted.append("has_rationale = ?")
        given.append(filter.has_rationale)
    if filter.split:
        wanted.append("instr(splits, ?)")
        given.append(in_split(filter.split))
    if filter.broken is not None:
        wanted.append(f"broken IS {'NOT ' if filter.broken else ''}NULL")
    return " AND ".join(wanted), given


def ordering(order: Order, dataset: str) -> str:
    """An ORDER BY expression, given one for the data set's place."""
    direction = "DESC" if order.descending else "ASC"
    if order.column == "position":
        return f"{dataset} {direction}, episode {direction}"
    if order.column == "data set":
        return f"{dataset} {direction}, episode"
    return f"{SORTED[order.column]} {direction} NULLS LAST, scan {direction}, episode {direction}"  # as the indices go


def _containing(text: str) -> tuple[str, list[Any]]:
    words = re.findall(r"\w+", text)
    if words and not any(unicodedata.category(sign) == "Lo" for sign in text):
        match = " ".join(f'"{word}"*' for word in words)
        return "episode IN (SELECT rowid FROM words WHERE words MATCH ?)", [match]
    # scripts without spaces between words, such as Chinese, and signs alone: any place in the text
    part = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
    return "(" + " OR ".join(f"{name} LIKE ? ESCAPE '\\'" for name in ("instruction", "id", "task")) + ")", [part] * 3
