"""Whether a symbolic link stays where it may: inside what was opened, or inside one repository of the hub's cache.

Hugging Face's cache keeps a data set as ``datasets--org--name/snapshots/<revision>/...``, whose files are links into
``datasets--org--name/blobs``. A link from such a snapshot into the blobs of the same repository is no way out.
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY, SNAPSHOTS, BLOBS, REFS = "datasets--", "snapshots", "blobs", "refs"


def stays_inside(path: Path, root: Path) -> bool:
    """Whether ``path``, with all links followed, lies at or below ``root`` or in the blobs that belong to it."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    return any(real == place or real.startswith(place.rstrip(os.sep) + os.sep) for place in (base, *_blobs(base)))


def snapshot_of(folder: Path) -> Path:
    """The snapshot to open where ``folder`` is a data set's folder in the hub's cache; else the folder itself.

    It is the one that ``refs/main`` names, or the only one there is.
    """
    if not folder.name.startswith(REPOSITORY) or not (folder / SNAPSHOTS).is_dir():
        return folder
    snapshots = sorted(entry for entry in (folder / SNAPSHOTS).iterdir() if entry.is_dir() and not entry.is_symlink())
    main = folder / REFS / "main"
    wanted = main.read_text(encoding="utf-8", errors="replace").strip()[:200] if main.is_file() else ""
    return next((one for one in snapshots if one.name == wanted or len(snapshots) == 1), folder)


def _blobs(base: str) -> tuple[str, ...]:
    """The folder of blobs beside the snapshot in which ``base`` lies, if it lies in one."""
    parts = Path(base).parts
    for place in range(len(parts) - 2):
        if parts[place].startswith(REPOSITORY) and parts[place + 1] == SNAPSHOTS:
            return (str(Path(*parts[: place + 1]) / BLOBS),)
    return ()
