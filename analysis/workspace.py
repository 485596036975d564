"""One folder on disk: which episodes and checkpoints belong together, and the records made from them.

The app, the command line and notebooks all start here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import models
from analysis.atomic_file import written_once
from analysis.catalogue import EpisodeIndex, IndexedEpisode
from analysis.checkpoint_list import BrokenCheckpoint, Inspected, list_checkpoints
from analysis.dataset_description import DatasetDescription, description_path, read_description, write_description
from analysis.episodes import BrokenEpisode, OpenedSource, open_source
from analysis.episodes.file_bytes import Unreachable
from analysis.episodes.source import limit_fetched, place_of, stand_in
from analysis.index_update import IndexedDataset, IndexUpdate, Progress, update_index
from analysis.joined_source import Annotations, JoinedSource
from analysis.people import People, read_people
from analysis.records import RecordStore
from analysis.running import Running, read_running
from analysis.types import Episode, EpisodeMeta
from analysis.workspace_config import CONFIG, PATHS, default_config, inside, parse_config
from models.errors import UserError
from models.types import CheckpointSpec

if TYPE_CHECKING:
    from analysis.review import ReviewStore

RATIONALES = "rationales"  # folder of what teachers wrote about episodes, as JSON lines
REVIEWS_VARIABLE = "VLA_LENS_REVIEWS"  # an address of reviews that goes before the one in workspace.toml
ACTED_OUT = "what-if"  # folder of the workspace with rollouts of changed policies, a data set once there are some


@dataclass(frozen=True)
class Dataset:
    """One entry under ``episodes`` in workspace.toml."""

    name: str  # unique in the workspace
    path: Path  # of a remote data set: the stand-in on this machine

    @property
    def place(self) -> str:
        """The path, or the remote address."""
        return place_of(self.path)


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
    annotation_paths: tuple[Path, ...] = ()  # files of ECoT annotations
    _sources: dict[str, JoinedSource] = field(default_factory=dict, repr=False, compare=False)
    _inspected: dict[Path, Inspected] = field(default_factory=dict, repr=False, compare=False)

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
                    part.write_text(default_config(folder), encoding="utf-8")
            text = config.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{config} cannot be read or made: {error.strerror}") from None
        stored = parse_config(text, config)
        fetched = folder / "cache" / "remote"
        episodes = tuple(stand_in(entry, fetched) or inside(folder, entry) for entry in stored["episodes"])
        limit_fetched(fetched, stored, str(config))
        checkpoints, annotations = (tuple(inside(folder, entry) for entry in stored[key]) for key in PATHS[1:])
        bases = {name: inside(folder, entry) for name, entry in stored["bases"].items()}
        running, people = read_running(stored, str(config)), read_people(stored, str(config))
        reviews = os.environ.get(REVIEWS_VARIABLE) or stored.get("reviews", "")
        return cls(folder, episodes, checkpoints, bases, running, people, reviews, annotations)

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
        return ReviewStore.open(address if "://" in address else inside(self.path, address))

    def datasets(self) -> tuple[Dataset, ...]:
        """The configured data sets, named after the last two parts of their paths, and what was acted out here."""
        out: list[Dataset] = []
        own = self.path / ACTED_OUT
        for path in (*self.episode_paths, *([own] if own.is_dir() and own not in self.episode_paths else [])):
            name, taken = "/".join(path.parts[-2:]), {dataset.name for dataset in out}
            out.append(Dataset(name if name not in taken else str(path), path))
        return tuple(out)

    def episodes(self, dataset: str) -> tuple[EpisodeMeta | BrokenEpisode, ...]:
        """All episodes of one data set as they are on disk now; files that cannot be used are named, not left out.

        Raises UserError if the workspace has no data set of that name.
        """
        try:
            return tuple(self.source(dataset).scan())
        except _NoSource as error:
            return (BrokenEpisode(place_of(error.path), str(error)),)
        except Unreachable as error:
            return (BrokenEpisode(place_of(self._path(dataset)), str(error)),)

    def episode(self, id: str, dataset: str | None = None) -> Episode:
        """One episode with its annotations, under its data set's description; of all data sets unless one is named.

        Lists no data set where the index knows the episode, or where its id tells where it lies. Raises UserError if
        it is nowhere, if it is broken, or if several data sets have one of that id.
        """
        if dataset is not None:
            return self._opened(id, dataset)
        names = [entry.name for entry in self.datasets()]
        known = [one.dataset for one in self._find(id) if one.dataset in names]
        found, said = {}, []
        for name in known or names:
            try:
                found[name] = self._opened(id, name)
            except UserError as error:
                said.append(str(error))
        if not found:
            reasons = f": {'; '.join(said)}" if said else ""
            raise UserError(f"there is no episode {id!r} in {' or '.join(names) or 'this workspace'}{reasons}")
        if len(found) > 1:
            raise UserError(f"the data sets {' and '.join(found)} each have an episode {id!r}; say which one is meant")
        return next(iter(found.values()))

    def update_index(
        self, progress: Progress = lambda told: None, cancelled: Callable[[], bool] = lambda: False
    ) -> IndexUpdate:
        """Brings `index` up to date with what is on disk; a look at names and times of files where nothing changed.

        Meant for a thread of its own: the first time it reads every list and all annotations.
        """
        wanted = [
            IndexedDataset(
                entry.name,
                entry.path,
                partial(self.source, entry.name),
                (self.description_path(entry.name), self.path / RATIONALES),
            )
            for entry in self.datasets()
        ]
        return update_index(self.index, wanted, self.annotations, progress, cancelled)

    @property
    def annotations(self) -> tuple[Annotations, ...]:
        """The configured files of annotations, each with the place of its index."""
        cache = self.path / "cache" / "annotations"
        return tuple(
            Annotations(path, cache / f"{sha256(str(path).encode('utf-8', 'replace')).hexdigest()[:16]}.sqlite")
            for path in self.annotation_paths
        )

    def description_path(self, dataset: str) -> Path:
        """The file that describes a data set; it need not exist."""
        return description_path(self.path / "datasets", dataset)

    def description(self, dataset: str) -> DatasetDescription:
        """What a person corrected about a data set. Raises UserError for a file that cannot be used."""
        return read_description(self.description_path(dataset))

    def describe(self, dataset: str, description: DatasetDescription) -> None:
        """Remembers corrections. Raises UserError if the workspace has no such data set or cannot be written."""
        self._path(dataset)
        write_description(self.description_path(dataset), description)

    def checkpoints(self) -> tuple[CheckpointSpec | BrokenCheckpoint, ...]:
        """All configured checkpoints, read from their files without loading weights."""
        cache = self.path / "cache" / "checkpoints.json"
        return list_checkpoints(self.checkpoint_paths, cache, self.bases, self._inspected)

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

    def source(self, dataset: str) -> JoinedSource:
        """All episodes of a data set, as `episode` gives them.

        Raises UserError if the workspace has no data set of that name, or if nothing there is recognised.
        """
        if dataset not in self._sources:
            path = self._path(dataset)
            try:
                source = open_source(path)
            except Unreachable:
                raise
            except UserError as error:
                raise _NoSource(path, str(error)) from None
            self._sources[dataset] = JoinedSource(
                source, self.description_path(dataset), self.annotations, self.path / RATIONALES
            )
        return self._sources[dataset]

    def source_at(self, path: str | os.PathLike[str]) -> OpenedSource:
        """The episodes at ``path``: as the workspace knows them where it lies in one of its data sets.

        Raises UserError where nothing is recognised.
        """
        source, place = open_source(path), Path(os.path.realpath(Path(path).expanduser()))
        for entry in self.datasets():
            if place.is_relative_to(os.path.realpath(entry.path)):
                described = self.description_path(entry.name)
                return JoinedSource(source, described, self.annotations, self.path / RATIONALES)
        return source

    def _path(self, dataset: str) -> Path:
        paths = {entry.name: entry.path for entry in self.datasets()}
        if dataset not in paths:
            raise UserError(f"this workspace has no data set {dataset!r}; it has {', '.join(paths) or 'none'}")
        return paths[dataset]

    def _find(self, id: str, dataset: str | None = None) -> tuple[IndexedEpisode, ...]:
        return self.index.find(id, dataset) if self.index.path.exists() else ()

    def _opened(self, id: str, dataset: str) -> Episode:
        source = self.source(dataset)
        for one in self._find(id, dataset):
            if isinstance(one.entry, EpisodeMeta):
                source.expect(id, one.entry.source)
        return source.open(id)


class _NoSource(UserError):
    """A configured path that holds no episodes (yet)."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
