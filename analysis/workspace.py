"""One folder on disk: which episodes and checkpoints belong together, and the records made from them.

The app, the command line and notebooks all start here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from analysis.atomic_file import written_once
from analysis.catalogue import EpisodeIndex
from analysis.checkpoint_list import BrokenCheckpoint, list_checkpoints
from analysis.episodes import BrokenEpisode, EpisodeSource, open_source
from analysis.people import People, read_people
from analysis.records import RecordStore
from analysis.running import Running, read_running
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from models.types import CheckpointSpec

if TYPE_CHECKING:
    from analysis.review import ReviewStore

CONFIG = "workspace.toml"
PATHS = ("episodes", "checkpoints")
SETTINGS = ("bases", "device", "dtype", "memory_gb", "people", "reviews")
REVIEWS_VARIABLE = "VLA_LENS_REVIEWS"  # an address of reviews that goes before the one in workspace.toml
SAMPLE_DATA = Path(__file__).resolve().parents[1] / "sample_data"


@dataclass(frozen=True)
class Dataset:
    """One entry under ``episodes`` in workspace.toml."""

    name: str  # unique in the workspace
    path: Path


@dataclass(frozen=True)
class Workspace:
    """A folder with ``workspace.toml``; make one with `Workspace.open`."""

    path: Path
    episode_paths: tuple[Path, ...]
    checkpoint_paths: tuple[Path, ...]
    bases: Mapping[str, Path] = field(default_factory=dict, hash=False)  # checkpoint's folder name -> its base model
    running: Running = field(default_factory=Running)
    people: People = field(default_factory=People)
    reviews_address: str = field(default="", repr=False)  # path or URL; "": in this folder. May hold a password
    _sources: dict[str, EpisodeSource] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Workspace:
        """Reads ``workspace.toml``; where there is none, makes one that points at the shipped episodes and models.

        Reads no episode, no checkpoint, imports no torch. Raises UserError for a configuration that cannot be used.
        """
        folder = Path(path).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; a workspace is a folder with a {CONFIG} in it")
        config = folder / CONFIG
        try:
            if not config.exists():
                with written_once(config) as part:
                    part.write_text(_default_config(folder), encoding="utf-8")
            text = config.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{config} cannot be read or made: {error.strerror}") from None
        stored = _parse(text, config)
        episodes, checkpoints = (tuple(_inside(folder, entry) for entry in stored[key]) for key in PATHS)
        bases = {name: _inside(folder, entry) for name, entry in stored["bases"].items()}
        running, people = read_running(stored, str(config)), read_people(stored, str(config))
        reviews = os.environ.get(REVIEWS_VARIABLE) or stored.get("reviews", "")
        return cls(folder, episodes, checkpoints, bases, running, people, reviews)

    @property
    def records(self) -> RecordStore:
        """What policies did on episodes of this workspace."""
        return RecordStore(self.path / "records")

    @property
    def index(self) -> EpisodeIndex:
        """All episodes of all data sets, as `EpisodeIndex.update` last found them: searched without opening files."""
        return EpisodeIndex(self.path / "cache" / "episodes.sqlite")

    @property
    def reviews(self) -> ReviewStore:
        """What people said about rationales: in ``reviews.sqlite`` unless the configuration names another place.

        Raises ReviewsUnavailable where it cannot be reached or written.
        """
        from analysis.review import ReviewStore

        address = self.reviews_address or "reviews.sqlite"
        return ReviewStore.open(address if "://" in address else _inside(self.path, address))

    def datasets(self) -> tuple[Dataset, ...]:
        """The configured data sets, named after the last two parts of their paths."""
        out: list[Dataset] = []
        for path in self.episode_paths:
            name, taken = "/".join(path.parts[-2:]), {dataset.name for dataset in out}
            out.append(Dataset(name if name not in taken else str(path), path))
        return tuple(out)

    def episodes(self, dataset: str) -> tuple[EpisodeMeta | BrokenEpisode, ...]:
        """All episodes of one data set as they are on disk now; files that cannot be used are named, not left out.

        Raises UserError if the workspace has no data set of that name.
        """
        try:
            return tuple(self._source(dataset).scan())
        except _NoSource as error:
            return (BrokenEpisode(str(error.path), str(error)),)

    def episode(self, id: str, dataset: str | None = None) -> Episode:
        """One episode, looked for in all data sets unless one is named.

        Raises UserError if it is nowhere, if it is broken, or if several data sets have one of that id.
        """
        names = [entry.name for entry in self.datasets()] if dataset is None else [dataset]
        found, broken = [], []
        for name in names:
            for entry in self.episodes(name):
                if isinstance(entry, BrokenEpisode):
                    broken.append(entry)
                elif entry.id == id:
                    found.append(name)
        if not found:
            unread = f"; {len(broken)} files there cannot be read: {broken[0].reason}" if broken else ""
            raise UserError(f"there is no episode {id!r} in {' or '.join(names) or 'this workspace'}{unread}")
        if len(found) > 1:
            raise UserError(f"the data sets {' and '.join(found)} each have an episode {id!r}; say which one is meant")
        return self._source(found[0]).open(id)

    def checkpoints(self) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
        """All configured checkpoints, read from their files without loading weights."""
        return list_checkpoints(self.checkpoint_paths, self.path / "cache" / "checkpoints.json", self.bases)

    def checkpoint(self, digest: str, family: str | None = None) -> CheckpointSpec:
        """The checkpoint with this digest, read as another ``family`` than its files suggest where one is named.

        Raises UserError if it is not among the usable ones, or cannot be read as that family.
        """
        for spec in self.checkpoints():
            if isinstance(spec, CheckpointSpec) and spec.digest == digest:
                if family in (None, spec.family):
                    return spec
                return models.inspect(spec.path, family=family, known_digest=digest, base=self.base_of(spec))
        raise UserError(f"no usable checkpoint of this workspace has the digest {digest!r}")

    def base_of(self, spec: CheckpointSpec) -> Path | None:
        """The folder that ``workspace.toml`` names as the model which this checkpoint builds on."""
        return self.bases.get(Path(spec.path).name)

    def _source(self, dataset: str) -> EpisodeSource:
        if dataset not in self._sources:
            paths = {entry.name: entry.path for entry in self.datasets()}
            if dataset not in paths:
                raise UserError(f"this workspace has no data set {dataset!r}; it has {', '.join(paths) or 'none'}")
            try:
                self._sources[dataset] = open_source(paths[dataset])
            except UserError as error:
                raise _NoSource(paths[dataset], str(error)) from None
        return self._sources[dataset]


class _NoSource(UserError):
    """A configured path that holds no episodes (yet)."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def _default_config(folder: Path) -> str:
    sample = Path(os.path.relpath(SAMPLE_DATA, folder)).as_posix()
    return (
        "# Folders or files; relative paths start at this folder.\n"
        f'episodes = ["{sample}/episodes"]\n'
        f'checkpoints = ["{sample}/checkpoints"]\n'
        '\n# device = "cuda"\n# dtype = "bfloat16"   # else float32 on the CPU, the checkpoint\'s own on a GPU\n'
        "# memory_gb = 16       # for checkpoints kept in memory; else half of what the device has\n"
        '# [bases]\n# a-checkpoints-folder = "the folder of the model that it builds on"\n'
    )


def _parse(text: str, config: Path) -> dict[str, Any]:
    try:
        stored: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{config} is not valid TOML: {error}") from None
    if unknown := stored.keys() - {*PATHS, *SETTINGS}:
        raise UserError(f"{config} has the unknown key {min(unknown)!r}; it knows {', '.join((*PATHS, *SETTINGS))}")
    for key in PATHS:
        entries = stored.setdefault(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
            raise UserError(f"{key!r} in {config} is {entries!r}; expected a list of paths")
    if not isinstance(stored.get("reviews", ""), str):
        raise UserError(f"'reviews' in {config} is no text; expected a path, or postgresql+psycopg://user@host/name")
    bases = stored.setdefault("bases", {})
    if not isinstance(bases, dict) or not all(isinstance(entry, str) and entry for entry in bases.values()):
        raise UserError(f"'bases' in {config} is {bases!r}; expected a table of folder name = path of the base model")
    return stored


def _inside(folder: Path, entry: str) -> Path:
    """An entry as an absolute path; ``..`` is folded by text alone, as the file's author sees it."""
    return Path(os.path.normpath(folder / Path(entry).expanduser()))
