"""Which files make up an RLDS data set: version folders, splits and their shards, and those that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.episodes.folders import entries, nearest, prefix
from analysis.episodes.rlds_features import read_json
from models.errors import UserError

SHARD = re.compile(r"(?:(?P<name>.+)-)?(?P<split>[^-]+)\.tfrecord(?:-(?P<number>\d{1,7})-of-(?P<count>\d{1,7}))?")
MAX_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One file of a split; ``path`` is None where it is not there."""

    number: int
    path: Path | None
    claimed: int | None = None  # episodes by dataset_info.json


@dataclass(frozen=True)
class Split:
    """All shards of one split, in order, those that are not there included."""

    name: str
    shards: tuple[Shard, ...]
    missing: str = ""  # the sentence about shards that are not there


@dataclass(frozen=True)
class DataSet:
    """One version folder."""

    folder: Path
    name: str  # as dataset_info.json or the files have it, such as bridge_dataset
    prefix: str  # begins the ids of its episodes where several data sets lie below the opened folder; else empty
    splits: tuple[Split, ...]
    problems: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict, repr=False)


def version_folders(root: Path) -> list[Path]:
    """Folders with TFRecord shards: ``root``, or those at most two levels below. Links to folders are not entered."""
    if root.is_file():
        return [root.parent] if SHARD.fullmatch(root.name) else []
    return nearest(root, _is_version)


def find_data_sets(root: Path) -> list[DataSet]:
    """The data sets at and below ``root``, shards listed but not opened. One file alone is a data set of one shard."""
    folders = version_folders(root)
    if root.is_file():
        return [_data_set(folder, "", root) for folder in folders]
    return [_data_set(folder, prefix(folder, root, len(folders))) for folder in folders]


def _is_version(folder: Path) -> bool:
    named = (folder / "features.json").is_file() and (folder / "dataset_info.json").is_file()
    return named or any(SHARD.fullmatch(entry.name) for entry in entries(folder))


def _data_set(folder: Path, prefix: str, only: Path | None = None) -> DataSet:
    info: Mapping[str, Any] = {}
    problems = []
    if (folder / "dataset_info.json").is_file():
        try:
            info = read_json(folder / "dataset_info.json")
        except UserError as error:
            problems.append(str(error))
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        problems.append(
            f"the episodes are stored as {str(info['fileFormat'])[:40]!r}; only 'tfrecord' is read: build the data set "
            "again in that file format"
        )
    present: dict[str, dict[int, Path]] = {}
    counts: dict[str, int] = {}
    name = str(info.get("name", ""))[:200]
    for path in [only] if only else entries(folder):
        if found := SHARD.fullmatch(path.name):
            split = found["split"]
            present.setdefault(split, {})[int(found["number"] or 0)] = path
            counts[split] = max(counts.get(split, 1), int(found["count"] or 1))
            name = name or found["name"] or ""
    claimed = _claimed(info) if only is None else {k: v for k, v in _claimed(info).items() if k in present}
    splits = tuple(
        _split(split, present.get(split, {}), claimed.get(split), counts.get(split, 0), only is not None)
        for split in [*claimed, *(split for split in present if split not in claimed)]
    )
    return DataSet(folder, name or folder.parent.name, prefix, splits, tuple(problems), info)


def _split(name: str, present: Mapping[int, Path], lengths: tuple[int, ...] | None, count: int, alone: bool) -> Split:
    """``count``: shards by the files' own names; ``alone``: one file was opened, so that others are not missed."""
    if lengths is not None and count and len(lengths) != count:
        lengths = None  # another edition of the data set than dataset_info.json is about
    total = min(max(len(lengths or ()), count, *(number + 1 for number in present)), MAX_SHARDS)
    claims = dict(enumerate(lengths or ()))
    shards = tuple(Shard(number, present.get(number), claims.get(number)) for number in range(total))
    absent = [shard for shard in shards if shard.path is None]
    if not absent or alone:
        return Split(name, shards)
    episodes = f" ({sum(lengths):,} episodes)" if lengths and (lengths := tuple(s.claimed or 0 for s in absent)) else ""
    which = f"shard {absent[0].number:05d}" if len(absent) == 1 else f"the first is {absent[0].number:05d}"
    missing = (
        f"{len(absent)} of {total} files of the split {name!r} are not there{episodes}, {which}; copy or download them "
        "too, or go on without: the others can be used"
    )
    return Split(name, shards, missing)


def _claimed(info: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Episodes per shard of each split, as far as dataset_info.json has them in the form that TFDS writes."""
    out: dict[str, tuple[int, ...]] = {}
    for entry in _dicts(info.get("splits")):
        lengths = entry.get("shardLengths", ())
        if isinstance(lengths, list) and len(lengths) <= MAX_SHARDS and entry.get("name"):
            numbers = tuple(int(n) for n in lengths if str(n).isascii() and str(n).isdigit() and len(str(n)) < 10)
            if len(numbers) == len(lengths):
                out[str(entry["name"])[:100]] = numbers
    return out


def _dicts(entries: object) -> Iterator[Mapping[str, Any]]:
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry
