"""The player's JavaScript modules and style sheet, read once; their address changes with their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

BASE = "/lens"
FOLDER = Path(__file__).resolve().parent / "components" / "player"


@dataclass(frozen=True)
class PlayerFiles:
    version: str  # first 12 hex digits of the sha256 over all files
    files: dict[str, bytes]  # name -> JavaScript module
    style: str

    @property
    def address(self) -> str:
        """Where the modules are served."""
        return f"{BASE}/player/{self.version}"


def _read() -> PlayerFiles:
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.js"))}
    style = (FOLDER / "player.css").read_text(encoding="utf-8")
    digest = hashlib.sha256(b"\0".join([*files.values(), style.encode()])).hexdigest()
    return PlayerFiles(digest[:12], files, style)


PLAYER = _read()
