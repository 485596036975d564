"""The seam for episode formats: a protocol, a registry with one line a format, and `open_source`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast, runtime_checkable

from analysis.episodes.file_bytes import Unreachable, bound, refresh, remote_of
from analysis.episodes.links import snapshot_of
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
        "lerobot_sets": "analysis.episodes.lerobot_sets:LerobotSets",  # last: what others recognise stays theirs
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

    It may lie at a remote address (docs/remote-data.md), or be a data set's folder in the cache of Hugging Face's hub.
    Raises UserError when there is nothing, or no format handles it.
    """
    root = stand_in(path)
    if root is None:
        root = snapshot_of(Path(path).expanduser().absolute())
        if not root.exists():
            raise UserError(f"there is nothing at {root}; expected an episode file or a folder of episodes")
        return _recognised(root, format)
    from analysis.episodes.remote import RemoteSource

    refresh(root)
    try:
        return RemoteSource(root, _recognised(root, format))
    except UserError as error:
        remote = remote_of(root)
        kind = Unreachable if isinstance(error, Unreachable) else UserError
        raise kind(remote.said(str(error)) if remote else str(error)) from None


def stand_in(path: str | os.PathLike[str], cache: Path | None = None) -> Path | None:
    """The folder or file on this machine that stands for a remote address such as s3://bucket/folder; None for a path.

    Asks nothing of the storage. ``cache``: where what is fetched is kept. Raises UserError for an address that is not
    read.
    """
    found = Path(path)
    if remote_of(found) is not None:
        return found
    if ":/" not in str(path):
        return None
    from analysis.episodes.remote import is_address, mirror

    return mirror(str(path), cache).tree if is_address(str(path)) else None


def place_of(path: Path) -> str:
    """A path as a text; the address where it stands for a remote root or a part of it."""
    remote = remote_of(path)
    return str(path) if remote is None else remote.said(str(path))


def limit_fetched(cache: Path, settings: Mapping[str, object], where: str) -> None:
    """Bounds what is kept of remote data sets in ``cache`` by ``remote_cache_gb`` of the settings, 20 if left out.

    Raises UserError, which names ``where``, for anything but a positive number.
    """
    given = settings.get("remote_cache_gb", 20)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1_000_000:
        raise UserError(f"'remote_cache_gb' in {where} is {given!r}; expected a positive number of gigabytes")
    bound(cache, int(given * (1 << 30)))


def _recognised(root: Path, format: str | None) -> EpisodeSource:
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
