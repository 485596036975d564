"""Which episodes a LeRobot data set has and where their rows and frames lie, from the files under meta/ alone."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.episodes.file_bytes import opening, path_or_stream
from analysis.episodes.lerobot_info import INFO, LerobotInfo
from analysis.episodes.lerobot_kept import COLUMN, Kept, read_kept
from analysis.episodes.lerobot_paths import bounded_text, clean, fill, present
from analysis.episodes.source import BrokenEpisode
from models.errors import UserError

MAX_STEPS = 1_000_000
MAX_EPISODES = 10_000_000
MAX_FILE = 1_000_000
MAX_LINE = 4 << 20  # characters
MAX_TASKS_BYTES = 256 << 20
MAX_META_BYTES = 4 << 30
DAMAGED = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError)


@dataclass(frozen=True)
class VideoPart:
    path: str  # relative to the data set
    start: float  # seconds in the file at which the episode begins


@dataclass(frozen=True)
class EpisodeRow:
    """One episode as the list under meta/ has it."""

    index: int
    tasks: tuple[str, ...]
    length: int  # steps
    data: str  # parquet file, relative to the data set
    shared: bool  # whether the parquet file holds other episodes too
    videos: Mapping[str, VideoPart]  # camera -> where its frames are
    success: bool | None
    kept: Kept | None = None  # what an export kept beside it
    texts: Mapping[int, str] = field(default_factory=dict)  # of its tasks by number, where there are several
    first: int | None = None  # its first row in the parquet file, if the list tells and the file holds others too

    @property
    def id(self) -> str:
        return self.kept.id if self.kept else f"episode_{self.index:06d}"


def read_listing(root: Path, info: LerobotInfo) -> Iterator[EpisodeRow | BrokenEpisode]:
    """Every episode in the order of the files; entries that cannot be used are named, the others go on.

    Then one `BrokenEpisode` for all that info.json promises and the list does not have.
    """
    try:
        tasks = read_tasks(root, info.major)
    except UserError:
        tasks = {}  # the list of episodes usually has the texts too
    listed: set[int] = set()
    broken = 0
    for entry in (_lines if info.major == 2 else _files)(root, info, tasks):
        if isinstance(entry, EpisodeRow):
            listed.add(entry.index)
        else:
            broken += 1
        yield entry
    if len(listed) + broken < info.episodes and (listed or not broken):  # without any, the reason is named already
        absent = next(number for number in count() if number not in listed)
        yield BrokenEpisode(
            str(root / "meta"),
            f"{INFO} says {info.episodes:,} episodes, the list under meta/ has {len(listed):,}: episode {absent} is "
            "the first that it lacks; download or copy meta/ again, or go on without: those listed can be used",
        )


def read_tasks(root: Path, major: int) -> dict[int, str]:
    """The texts of meta/tasks by their index; the text's column may be nameless, as pandas writes an index."""
    if major == 2:
        lines = bounded_text(root, "meta/tasks.jsonl", MAX_TASKS_BYTES).splitlines()
        rows = [_object(line, "meta/tasks.jsonl", number) for number, line in enumerate(lines, 1) if line.strip()]
    else:
        rows = list(_entries(root, "meta/tasks.parquet", all_columns=True))
    out = {}
    for row in rows:
        text = next((row[key] for key in ("task", "__index_level_0__", "index") if isinstance(row.get(key), str)), None)
        if isinstance(row.get("task_index"), int) and text is not None:
            out[row["task_index"]] = clean(text)
    return out


def _lines(root: Path, info: LerobotInfo, tasks: Mapping[int, str]) -> Iterator[EpisodeRow | BrokenEpisode]:
    """Version 2: a line of JSON an episode, a file an episode."""
    name = "meta/episodes.jsonl"
    try:
        path = present(root, name)
    except UserError as error:
        yield BrokenEpisode(str(root / name), str(error))
        return
    with io.TextIOWrapper(opening(path), encoding="utf-8", errors="replace") as stream:
        number = 0
        while line := stream.readline(MAX_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                row = _object(line, name, number)
                where = f"line {number} of {name}"
                index = _whole(row, "episode_index", MAX_EPISODES, where)
                values: dict[str, int | str] = {"episode_chunk": index // info.chunk_size, "episode_index": index}
                videos = {
                    camera.name: VideoPart(fill(info.video_path, values | {"video_key": camera.key}), 0.0)
                    for camera in info.cameras
                    if camera.video
                }
                yield _row(row, index, tasks, fill(info.data_path, values), False, videos, where)
            except UserError as error:
                yield BrokenEpisode(str(path), str(error))
                if len(line) == MAX_LINE:  # no list of episodes: the rest would be read in pieces
                    return


def _files(root: Path, info: LerobotInfo, tasks: Mapping[int, str]) -> Iterator[EpisodeRow | BrokenEpisode]:
    """Version 3: tables of episodes with the place of each in files that hold many."""
    names = sorted(path.relative_to(root).as_posix() for path in (root / "meta/episodes").glob("*/*.parquet"))
    if not names:
        yield BrokenEpisode(str(root / "meta/episodes"), "meta/episodes holds no parquet file; the list is missing")
    begins: dict[str, int] = {}  # file -> row of the whole data set with which it begins
    for name in names:
        try:
            for row in _entries(root, name, all_columns=False):
                try:
                    found = _placed(row, info, tasks, name)
                    begin = row.get("dataset_from_index")
                    if isinstance(begin, int) and begin >= begins.setdefault(found.data, begin):
                        found = replace(found, first=begin - begins[found.data])
                    yield found
                except UserError as error:
                    yield BrokenEpisode(str(root / name), str(error))
        except UserError as error:
            yield BrokenEpisode(str(root / name), str(error))


def _placed(row: Mapping[str, Any], info: LerobotInfo, tasks: Mapping[int, str], name: str) -> EpisodeRow:
    index = _whole(row, "episode_index", MAX_EPISODES, name)
    where = f"episode {index} in {name}"

    def file(prefix: str) -> dict[str, int | str]:
        return {key: _whole(row, f"{prefix}/{key}", MAX_FILE, where) for key in ("chunk_index", "file_index")}

    videos = {}
    for camera in (camera for camera in info.cameras if camera.video):
        path = fill(info.video_path, file(f"videos/{camera.key}") | {"video_key": camera.key})
        start = row.get(f"videos/{camera.key}/from_timestamp")
        if not isinstance(start, int | float) or not math.isfinite(start) or start < 0:
            raise UserError(f"{where} has videos/{camera.key}/from_timestamp {start!r}; expected seconds from 0 on")
        videos[camera.name] = VideoPart(path, float(start))
    found = _row(row, index, tasks, fill(info.data_path, file("data")), True, videos, where)
    begin, end = row.get("dataset_from_index"), row.get("dataset_to_index")
    if isinstance(begin, int) and isinstance(end, int) and end - begin != found.length:
        raise UserError(f"{where} has length {found.length} and rows {begin} to {end}; expected as many rows as steps")
    return replace(found, kept=read_kept(row.get(COLUMN), where))


def _row(
    row: Mapping[str, Any],
    index: int,
    tasks: Mapping[int, str],
    data: str,
    shared: bool,
    videos: Mapping[str, VideoPart],
    where: str,
) -> EpisodeRow:
    length = _whole(row, "length", MAX_STEPS, where)
    if length == 0:
        raise UserError(f"{where} has zero steps; an episode needs at least one")
    given = row.get("tasks", [])
    said = [
        tasks.get(task, "") if isinstance(task, int) else task
        for task in (given if isinstance(given, list) else [given])
    ]
    texts = tuple(clean(task) for task in said if isinstance(task, str) and task)
    if not texts and len(tasks) == 1:
        texts = tuple(tasks.values())
    success = row.get("success")
    several = {number: text for number, text in tasks.items() if text in texts} if len(texts) > 1 else {}
    won = success if isinstance(success, bool) else None
    return EpisodeRow(index, texts, length, data, shared, videos, won, texts=several)


def _whole(row: Mapping[str, Any], key: str, limit: int, where: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        raise UserError(f"{where} has {key} {str(value)[:100]}; expected a whole number from 0 to {limit:,}")
    return value


def _object(line: str, name: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UserError(f"line {number} of {name} is no JSON object: {line.strip()[:80]!r}")
    return row


def _entries(root: Path, name: str, all_columns: bool) -> Iterator[dict[str, Any]]:
    """The rows of a table under meta/; of a list of episodes the per-episode statistics are left unread."""
    path = present(root, name)
    if path.stat().st_size > MAX_META_BYTES:
        raise UserError(f"{name} has {path.stat().st_size:,} bytes; at most {MAX_META_BYTES:,} are read")
    try:
        with pq.ParquetFile(path_or_stream(path)) as file:
            columns = None
            if not all_columns:
                columns = [column for column in file.schema_arrow.names if not column.startswith("stats/")]
            for batch in file.iter_batches(batch_size=1024, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    except DAMAGED as error:
        raise UserError(f"{name} is damaged or no parquet file ({str(error).splitlines()[0][:200]})") from None
