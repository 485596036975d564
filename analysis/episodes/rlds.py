"""RLDS data sets (TFRecord shards as TFDS writes them): BridgeData V2, Fractal, Open X-Embodiment; without TensorFlow.

See docs/episode-rlds.md for what is read, what is checked when, and what it costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analysis.episodes.file_bytes import Positions, is_remote
from analysis.episodes.links import stays_inside
from analysis.episodes.rlds_episode import RldsEpisode
from analysis.episodes.rlds_features import FeatureSpec, read_features
from analysis.episodes.rlds_files import DataSet, Shard, Split, find_data_sets, version_folders
from analysis.episodes.rlds_record import Place, Recording, frame_ranges, read_record
from analysis.episodes.source import BrokenEpisode
from analysis.episodes.splits import in_splits
from analysis.episodes.tfrecord import Malformed, Payload, ShardIndex, index_shard, opened, stamp
from analysis.types import EpisodeMeta
from models.errors import UserError

SMALL_BYTES = 1 << 30  # data sets up to this size are read and checked in full when they are listed, larger ones not
ID = re.compile(r"(?P<split>[^/]+)/(?:(?P<shard>\d{5,7})-)?(?P<number>\d{1,12})")


@dataclass(frozen=True)
class _Numbered:
    """A shard, and the number in its split that its first episode has; None where that cannot be told."""

    split: Split
    shard: Shard
    first: int | None

    def id(self, number: int) -> str:
        """The split and the running number; the shard and the number in it where no running number is known."""
        if self.first is None or (self.shard.claimed is not None and number >= self.shard.claimed):
            return f"{self.split.name}/{self.shard.number:05d}-{number}"
        return f"{self.split.name}/{self.first + number}"


@dataclass(frozen=True)
class _Specs:
    """The features of a data set, or why they have to be told from the records."""

    specs: Mapping[str, FeatureSpec] | None
    extra: Mapping[str, str]


class RldsSource:
    """A version folder, a folder up to two levels above one or several, or a single shard."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # entries of small data sets' shards, and what they depend on
        self._listed: dict[Path, tuple[object, tuple[EpisodeMeta | BrokenEpisode, ...]]] = {}

    @classmethod
    def handles(cls, path: Path) -> bool:
        return bool(version_folders(path))

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        for data_set in find_data_sets(self.root):
            for problem in data_set.problems:
                yield BrokenEpisode(str(data_set.folder), problem)
            small = _total_bytes(data_set) <= SMALL_BYTES and not is_remote(self.root)
            features = _features(data_set)
            for split in data_set.splits:
                if split.missing:
                    yield BrokenEpisode(str(data_set.folder), split.missing)
            for shard in _numbered(data_set):
                yield from self._shard(data_set, shard, features, small)

    def open(self, id: str) -> RldsEpisode:
        found = self._find(id)
        if found is None:
            raise UserError(f"there is no readable episode {id!r} at {self.root}; {self._some()}")
        data_set, shard, number = found
        path = self._checked(shard.shard)
        index, opened_at = index_shard(path), stamp(path)
        with opened(path) as file:
            payload = _payload(file, index, number)
            with _naming(path, number):
                payload.check()
                recording = _read(payload, data_set, shard, number, _features(data_set))
                frames = frame_ranges(payload, recording)
        states = recording.states.values if recording.states else None
        episode = RldsEpisode(
            recording.meta, recording.actions.values, states, (), frames, opened_at, recording.instructions
        )
        for camera in recording.meta.cameras:
            episode.encoded_frame(camera, 0)
        return episode

    def _shard(
        self, data_set: DataSet, shard: _Numbered, features: _Specs, small: bool
    ) -> Iterator[EpisodeMeta | BrokenEpisode]:
        if shard.shard.path is None:
            return
        try:
            path = self._checked(shard.shard)
            now = (stamp(path), features, shard.first, shard.shard.claimed)
            if path in self._listed and self._listed[path][0] == now:
                yield from self._listed[path][1]
                return
            entries = _entries(path, data_set, shard, features, small)
            if not small:
                yield from entries
                return
            self._listed[path] = (now, tuple(entries))
            yield from self._listed[path][1]
        except UserError as error:
            yield BrokenEpisode(str(shard.shard.path), str(error))

    def _checked(self, shard: Shard) -> Path:
        """The shard's path. Raises UserError if it is a link that leads out of what was opened."""
        if shard.path is None:
            raise UserError(f"the file with the number {shard.number:05d} of this split is not there")
        folder = self.root if self.root.is_dir() else self.root.parent
        if shard.path.is_symlink() and not stays_inside(shard.path, folder):
            raise UserError(f"{shard.path.name} is a link that leads out of {folder}; put the file itself there")
        return shard.path

    def _find(self, id: str) -> tuple[DataSet, _Numbered, int] | None:
        """Where the episode lies. Raises UserError if it is lost in the damaged part of a file."""
        for data_set in find_data_sets(self.root):
            told = ID.fullmatch(id.removeprefix(data_set.prefix))
            if told is None or not id.startswith(data_set.prefix):
                continue
            for shard in _numbered(data_set):
                number = int(told["number"]) - (0 if told["shard"] else shard.first or 0)
                if shard.shard.path is None or number < 0 or data_set.prefix + shard.id(number) != id:
                    continue
                path = self._checked(shard.shard)
                index = index_shard(path)
                if number < len(index):
                    return data_set, shard, number
                if index.problem:
                    raise UserError(f"record {number} of {path.name} cannot be read: {index.problem}")
        return None

    def _some(self) -> str:
        listed = []
        for entry in self.scan():
            listed += [entry.id] if isinstance(entry, EpisodeMeta) else []
            if len(listed) == 5:
                break
        return f"it has others, such as {', '.join(listed)}" if listed else "it has none that can be read"


def _entries(
    path: Path, data_set: DataSet, shard: _Numbered, features: _Specs, thorough: bool
) -> Iterator[EpisodeMeta | BrokenEpisode]:
    index = index_shard(path)
    with opened(path) as file:
        for number in range(len(index)):
            try:
                with _naming(path, number):
                    payload = _payload(file, index, number)
                    if thorough:
                        payload.check()
                    recording = _read(payload, data_set, shard, number, features)
                    if thorough:
                        frame_ranges(payload, recording)
                yield recording.meta
            except UserError as error:
                yield BrokenEpisode(f"{path}#{number}", str(error))
    claimed = shard.shard.claimed or 0
    if index.problem:
        lost = f"; {claimed - len(index)} episodes of it are lost" if claimed > len(index) else ""
        yield BrokenEpisode(str(path), f"{path.name}: {index.problem}{lost}; the records before it can be used")
    elif claimed > len(index):
        yield BrokenEpisode(
            str(path), f"{path.name} has {len(index)} episodes; dataset_info.json says {claimed}; copy the file again"
        )


def _read(payload: Payload, data_set: DataSet, shard: _Numbered, number: int, features: _Specs) -> Recording:
    path = shard.shard.path
    extra = {"data_set": data_set.name, "record": str(number)} | in_splits([shard.split.name]) | dict(features.extra)
    place = Place(f"{data_set.prefix}{shard.id(number)}", str(path), data_set.name, extra)
    return read_record(payload, features.specs, place)


def _payload(file: Positions, index: ShardIndex, number: int) -> Payload:
    return Payload(file, int(index.offsets[number]), int(index.lengths[number]))


@contextmanager
def _naming(path: Path, number: int) -> Iterator[None]:
    """Makes a UserError of Malformed, naming the record."""
    try:
        yield
    except Malformed as error:
        raise UserError(f"record {number} of {path.name} cannot be used: {error}; records beside it can be") from None


def _numbered(data_set: DataSet) -> Iterator[_Numbered]:
    for split in data_set.splits:
        first: int | None = 0 if len(split.shards) == 1 or split.shards[0].claimed is not None else None
        for shard in split.shards:
            yield _Numbered(split, shard, first)
            first = None if first is None or shard.claimed is None else first + shard.claimed


def _features(data_set: DataSet) -> _Specs:
    try:
        return _Specs(read_features(data_set.folder), {})
    except UserError as error:
        return _Specs(None, {"features": f"{error}; names and shapes are told from the records themselves"})


def _total_bytes(data_set: DataSet) -> int:
    paths = [shard.path for split in data_set.splits for shard in split.shards if shard.path is not None]
    return sum(path.stat().st_size for path in paths if path.is_file())
