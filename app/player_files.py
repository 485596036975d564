"""JavaScript modules and style sheets of our components, read once; their address changes with their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from app.json_answer import JsonAnswer

BASE = "/lens"
COMPONENTS = Path(__file__).resolve().parent / "components"
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class ComponentFiles:
    folder: str  # of the address
    version: str  # first 12 hex digits of the sha256 over all files
    files: Mapping[str, bytes]  # name -> JavaScript module
    style: str

    @property
    def address(self) -> str:
        """Where the modules are served."""
        return f"{BASE}/{self.folder}/{self.version}"

    async def answer(self, request: Request) -> Response:
        """One of the files, named with the version that it belongs to."""
        file = self.files.get(request.path_params["file"])
        if file is None or request.path_params["version"] != self.version:
            said = {"error": "there is no such file; reload the page"}
            return JsonAnswer(said, 404, headers={"Cache-Control": "no-store"})
        return Response(file, media_type="text/javascript", headers=FOREVER)


def _read(name: str, folder: str, *shared: Path) -> ComponentFiles:
    """``shared``: modules of another component that this one imports as if they were its own."""
    files = {path.name: path.read_bytes() for path in (*sorted((COMPONENTS / name).glob("*.js")), *shared)}
    style = (COMPONENTS / name / f"{name}.css").read_text(encoding="utf-8")
    digest = hashlib.sha256(b"\0".join([*files.values(), style.encode()])).hexdigest()
    return ComponentFiles(folder, digest[:12], files, style)


PLAYER = _read("player", "player")
REVIEW = _read("review", "review-files", *(COMPONENTS / "player" / name for name in ("dom.js", "source.js")))
CHART_EXPORT = _read("chart_export", "chart-export")
