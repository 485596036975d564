"""Which episodes a list shows, in which order, and which page of it: a value that the URL carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.catalogue import COLUMNS, Filter, Order
from app.selection import camera_names, camera_text

SUCCESS: Mapping[str, str] = {"": "Any", "yes": "Succeeded", "no": "Failed", "unrecorded": "Not recorded"}
RATIONALE: Mapping[str, str] = {"": "Any", "yes": "With rationale", "no": "Without"}
USABLE: Mapping[str, str] = {"": "All", "no": "Usable", "yes": "Broken"}
ORDERS: Mapping[str, str] = {  # as in the URL -> for a person; with a "-" in front it is descending
    "position": "As listed",
    "instruction": "Instruction",
    "-length": "Longest first",
    "length": "Shortest first",
    "-success": "Succeeded first",
    "success": "Failed first",
    "-rationale": "With rationale first",
    "data set": "Data set",
    "task": "Task",
    "robot": "Robot",
    "id": "Id",
}
NAMES = ("q", "in", "success", "rationale", "split", "shortest", "longest", "broken", "sort", "p")
LONGEST_TEXT = 500
EVERYTHING = Filter()


@dataclass(frozen=True)
class EpisodeList:
    """The default lists everything as the data sets do."""

    filter: Filter = EVERYTHING
    sort: str = "position"  # a column, with "-" in front where descending
    page: int = 0

    @property
    def order(self) -> Order:
        return Order(self.sort.removeprefix("-"), self.sort.startswith("-"))

    @property
    def narrowed(self) -> bool:
        """Whether some episodes are left out."""
        return self.filter != EVERYTHING

    def within(self, dataset: str) -> EpisodeList:
        """The usable episodes of one data set that pass."""
        return replace(self, filter=replace(self.filter, datasets=(dataset,), broken=False))

    def parameters(self) -> dict[str, str]:
        """The URL parameters that bring this list back; defaults are left out."""
        wanted = self.filter
        values = {
            "q": wanted.text,
            "in": camera_text(wanted.datasets),
            "success": wanted.success,
            "rationale": _words(wanted.has_rationale),
            "split": wanted.split,
            "shortest": "" if wanted.shortest is None else str(wanted.shortest),
            "longest": "" if wanted.longest is None else str(wanted.longest),
            "broken": _words(wanted.broken),
            "sort": "" if self.sort == "position" else self.sort,
            "p": str(self.page + 1) if self.page else "",
        }
        return {name: value for name, value in values.items() if value}


def list_from(parameters: Mapping[str, str], datasets: Sequence[str]) -> tuple[EpisodeList, tuple[str, ...]]:
    """The list that a URL asks for, and a sentence for each parameter that asks for something there is not."""
    said: list[str] = []

    def choice(name: str, offered: Mapping[str, str]) -> str:
        value = parameters.get(name, "")
        if value not in offered:
            said.append(
                f"The link asks for {name}={value[:40]}; expected {', '.join(each for each in offered if each)}."
            )
        return value if value in offered else ""

    def number(name: str) -> int | None:
        value = parameters.get(name, "")
        if value and not (value.isascii() and value.isdigit() and len(value) < 10):
            said.append(f"The link asks for {name}={value[:40]}; expected a whole number.")
            return None
        return int(value) if value else None

    asked = camera_names(parameters.get("in")) or ()
    said += [
        f"The link asks for the data set “{name[:80]}”, which is not here." for name in asked if name not in datasets
    ]
    success = choice("success", SUCCESS)
    wanted = Filter(
        text=parameters.get("q", "")[:LONGEST_TEXT],
        datasets=tuple(name for name in asked if name in datasets),
        shortest=number("shortest"),
        longest=number("longest"),
        success="yes" if success == "yes" else "no" if success == "no" else "unrecorded" if success else "",
        has_rationale=_flag(choice("rationale", RATIONALE)),
        split=parameters.get("split", "")[:LONGEST_TEXT],
        broken=_flag(choice("broken", USABLE)),
    )
    sort = parameters.get("sort", "") or "position"
    if sort.removeprefix("-") not in COLUMNS:
        said.append(f"The link sorts by {sort[:40]}; expected one of {', '.join(COLUMNS)}.")
        sort = "position"
    return EpisodeList(wanted, sort, max(0, (number("p") or 1) - 1)), tuple(said)


def _words(flag: bool | None) -> str:
    return {None: "", True: "yes", False: "no"}[flag]


def _flag(words: str) -> bool | None:
    return {"": None, "yes": True, "no": False}[words]
