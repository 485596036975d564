"""Which files of an image folder are its tables, and whether a folder is an episode at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.image_folder_frames import camera_folders, entries, holds_frames
from models.errors import UserError

DESCRIPTION, ACTIONS, STATES = "episode.json", "actions.csv", "states.csv"
MAX_BYTES = 100_000_000  # of a table
TELLING = (b'"actions"', b'"steps"')  # in a JSON file that is an episode's by no name


@dataclass(frozen=True)
class Tables:
    """What an episode's folder has beside its frames; None for what it has not."""

    description: Path | None  # JSON
    actions: Path | None  # CSV
    states: Path | None  # CSV

    @property
    def there(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.description, self.actions, self.states) if path is not None)


def tables_of(folder: Path) -> Tables:
    """The files under the names of docs/episode-image-folder.md, else the only one of their kind.

    Raises UserError if the folder cannot be listed.
    """
    files = [entry for entry in entries(folder) if not entry.name.startswith(".") and entry.is_file()]
    states = next((file for file in files if file.name == STATES), None)
    others = [file for file in files if file != states]
    return Tables(_named_or_only(others, DESCRIPTION), _named_or_only(others, ACTIONS), states)


def is_named(folder: Path) -> bool:
    """Whether a table has the name that makes a folder an episode, whatever else lies there."""
    return (folder / DESCRIPTION).exists() or (folder / ACTIONS).exists()


def is_episode(folder: Path) -> bool:
    """Whether a folder is an episode, or one with something wrong: by a table's name, else by a table beside frames.

    A table of another name makes one only beside two numbered images: charts have tables beside them as well.
    """
    if is_named(folder):
        return True
    try:
        tables = tables_of(folder)
        if tables.actions is None and (tables.description is None or not _tells_actions(tables.description)):
            return False
        places = [place for place in camera_folders(folder).values() if holds_frames(place, 2)]
        return bool(places) and not any(_is_told(place) for place in places if place != folder)
    except UserError:  # a folder that cannot be listed
        return False


def _named_or_only(files: list[Path], name: str) -> Path | None:
    alike = [file for file in files if file.suffix.lower() == Path(name).suffix]
    named = [file for file in alike if file.name == name]
    return (named or alike)[0] if named or len(alike) == 1 else None


def _tells_actions(path: Path) -> bool:
    try:
        return path.stat().st_size <= MAX_BYTES and any(key in read_bytes(path) for key in TELLING)
    except OSError:
        return False


def _is_told(place: Path) -> bool:
    """Whether a folder of images has a table of its own: then it is an episode's, and no camera of the one above."""
    return bool(tables_of(place).there)
