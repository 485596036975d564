"""What a viewer chose: the names and values that a link into the player carries (view_state.js)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl, urlsplit

from analysis.pictures.colours import SEQUENTIAL
from models.errors import UserError

CHOICES: Mapping[str, tuple[str, ...]] = {
    "reduce": ("head", "mean", "max", "topk", "rollout"),
    "map": SEQUENTIAL,
    "scale": ("frame", "episode"),
    "keep": ("heads", "heads of each layer", "layers", "entries"),
    "ranked_by": ("image attention", "largest image weight"),
    "ranked_over": ("query", "all queries"),
    "fuse": ("mean", "max"),
}
LONGEST = 200
DRAWN = ("camera", "tile", "map", "opacity", "scale", "smooth", "marks", "objects")  # settings of any map


@dataclass(frozen=True)
class View:
    """Layers are places among the captured ones, as in a link: 0 is the first, -1 of ``to`` the last."""

    camera: str = ""  # of the episode; "": the first that the policy sees
    reduce: str = "topk"
    layer: int = 0
    head: int = 0
    start: int = 0  # first layer of the range; called "from" in links
    to: int = -1
    k: int = 4
    keep: str = "heads"
    ranked_by: str = "image attention"
    ranked_over: str = "query"
    fuse: str = "mean"
    ranked_camera: str = ""
    query: str = "action"
    patch: int = -1
    stream: str = ""
    denoise: int = -1
    tile: int = -1
    map: str = "viridis"
    opacity: float = 0.75
    scale: str = "frame"
    smooth: bool = True
    marks: bool = True  # the places that the policy wrote about
    objects: bool = False  # what the data set says is in view
    depth: bool = False  # the policy's depth map in place of the attention

    @classmethod
    def of(cls, given: Mapping[str, str], strict: Sequence[str] = ()) -> View:
        """Names that mean nothing here are left aside, as a link has others too; but not those that are ``strict``.

        Raises UserError for a bad value, and for a strict name that is not known.
        """
        known = {"from" if entry.name == "start" else entry.name: entry.name for entry in fields(cls)}
        for name in strict:
            if name not in known:
                raise UserError(f"there is no setting {name[:40]!r}; there are {', '.join(known)}")
        found = {known[name]: _value(name, known[name], text) for name, text in given.items() if name in known}
        return replace(cls(), **found)  # type: ignore[arg-type]

    def facts(self, attention: bool) -> dict[str, object]:
        """The settings by name; without those that say how ``attention`` is reduced where none is drawn."""
        return {name: value for name, value in vars(self).items() if attention or name in DRAWN}

    @staticmethod
    def parameters_of(link: str) -> dict[str, str]:
        """What a link into the player carries."""
        return dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))


def _value(name: str, field: str, text: str) -> object:
    if name in CHOICES and text not in CHOICES[name]:
        raise UserError(f"{name} is {text[:40]!r}; it can be {', '.join(CHOICES[name])}")
    kind = type(getattr(View(), field))
    if kind is str:
        return text[:LONGEST]
    if kind is bool:
        if text not in ("0", "1", "true", "false"):
            raise UserError(f"{name} is {text[:40]!r}; it can be 0 or 1")
        return text in ("1", "true")
    try:
        number = float(text)
        if kind is float:
            return min(1.0, max(0.0, number)) if number == number else 0.0
        return int(number)
    except (ValueError, OverflowError):
        raise UserError(f"{name} is {text[:40]!r}; expected a number") from None
