"""The seam for episode formats: a protocol, a registry with one line a format, and `open_source`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast, runtime_checkable

from analysis.types import Episode, EpisodeMeta
from models.errors import UserError

FORMATS: Mapping[str, str] = MappingProxyType(  # name -> "module:class", imported when asked for
    {
        "lerobot": "analysis.episodes.lerobot:LerobotSource",  # first: one file tells, no walk
        "hdf5": "analysis.episodes.hdf5:Hdf5Source",
        "robomimic": "analysis.episodes.robomimic:RobomimicSource",
        "aloha": "analysis.episodes.aloha:AlohaSource",
        "rlds": "analysis.episodes.rlds:RldsSource",
        "images": "analysis.episodes.image_folder:ImageFolderSource",
    }
)


@dataclass(frozen=True)
class BrokenEpisode:
    """A file that should be an episode and cannot be used; listed beside the good ones."""

    path: str
    reason: str  # one sentence a user can act on


@runtime_checkable
class OpenedSource(Protocol):
    """What is done with a source once it is open: `EpisodeSource` explains it."""

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]: ...

    def open(self, id: str) -> Episode: ...


@runtime_checkable
class EpisodeSource(Protocol):
    """A file or folder of episodes in one format."""

    def __init__(self, root: Path) -> None: ...

    @classmethod
    def handles(cls, path: Path) -> bool:
        """Whether ``path`` is in this format, told quickly: by names and first bytes."""
        ...

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Every episode, in a stable order, without decoding a frame. Ids are unique within one source."""
        ...

    def open(self, id: str) -> Episode:
        """The episode called ``id``. Raises UserError if there is none, or if it is broken."""
        ...


def open_source(path: str | os.PathLike[str], format: str | None = None) -> EpisodeSource:
    """Opens a file or folder of episodes, recognising the format unless ``format`` names it.

    Raises UserError when the path does not exist or no format handles it.
    """
    root = Path(path).expanduser().absolute()
    if not root.exists():
        raise UserError(f"there is nothing at {root}; expected an episode file or a folder of episodes")
    if format is not None:
        return source_class(format)(root)
    for name in FORMATS:
        candidate = source_class(name)
        if candidate.handles(root):
            return candidate(root)
    raise UserError(
        f"no episodes were recognised at {root}; expected one of these formats: {', '.join(FORMATS)} "
        "(docs/episode-hdf5.md describes ours)"
    )


def source_class(format: str) -> type[EpisodeSource]:
    """The class registered for ``format``. Raises UserError for a name that is not registered."""
    if format not in FORMATS:
        raise UserError(f"episode format {format!r} is not known; the known formats are {', '.join(FORMATS)}")
    module, name = FORMATS[format].split(":")
    return cast("type[EpisodeSource]", getattr(importlib.import_module(module), name))
