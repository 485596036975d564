"""Charts and tables that pages showed lately, for as long as somebody may want them as files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from analysis.pictures.chart import Chart
from analysis.pictures.chart_files import CHARTS
from analysis.pictures.provenance import Provenance
from app.library import Library
from app.picture_route import MEDIA
from models.errors import UserError

KEPT = 500


class Drawn(Protocol):
    """A Plotly figure: drawn by the browser."""

    def to_json(self) -> str | None: ...


@dataclass(frozen=True)
class Exported:
    """A chart of a page; its numbers are gathered when somebody wants them."""

    place: str  # on the page
    about: Provenance
    chart: Callable[[], Chart]
    figure: Drawn | None = None

    @property
    def key(self) -> str:
        """Of what it is about: a chart that is drawn again with more samples takes the place of the earlier one."""
        facts = {name: value for name, value in self.about.facts.items() if name not in ("samples", "records")}
        return hashlib.sha256(json.dumps([self.place, facts], default=str).encode()).hexdigest()[:32]

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        about = self.about
        words = "-".join((about.title, *(one.digest[:8] for one in about.models)))
        return re.sub(r"[^A-Za-z0-9._]+", "-", words).strip("-.").lower()[:80] or "chart"


@dataclass
class ChartExports:
    """The last `KEPT` of a server; safe to use from several threads."""

    _held: OrderedDict[str, Exported] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, exported: Exported) -> str:
        """Returns the key under which it is found again."""
        key = exported.key
        with self._lock:
            self._held[key] = exported
            self._held.move_to_end(key)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
        return key

    def find(self, key: str) -> Exported:
        """Raises UserError for one that is no longer held."""
        with self._lock:
            if key not in self._held:
                raise UserError("this chart is no longer held by the server; reload the page and download it again")
            return self._held[key]


def chart_file(library: Library, given: Mapping[str, str]) -> tuple[bytes, str, str]:
    """Content, media type and file name of what a request asks for: ``key`` and ``format``.

    The format ``figure`` is what the browser draws a Plotly figure from, with its caption, as JSON.
    """
    found, format = exports_of(library).find(given.get("key", "")), given.get("format", "")
    if format == "figure" and found.figure is not None:
        said = {"caption": found.about.caption, "facts": found.about.facts}
        body = f'{{"about": {json.dumps(said, default=str)}, "figure": {found.figure.to_json()}}}'
        return body.encode(), "application/json", f"{found.name}.json"
    make = CHARTS.get(f".{format}")
    if make is None:
        raise UserError(f"{format[:40]!r} is no format; there are {', '.join(ending[1:] for ending in CHARTS)}")
    return make(found.chart()), MEDIA[f".{format}"], f"{found.name}.{format}"


_making = threading.Lock()
_held: dict[int, ChartExports] = {}


def exports_of(library: Library) -> ChartExports:
    """The exports of a library in this process."""
    with _making:
        return _held.setdefault(id(library), ChartExports())
