"""ECoT's annotations, 1.4 GB of JSON in one file, as an index in which one episode is found at once."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.annotations.annotated_episode import annotated
from analysis.annotations.ecot import EcotAnnotation, annotation_digest, annotation_json, read_annotation
from analysis.annotations.ecot_stream import MAX_RECORDING, read_recordings
from analysis.atomic_file import replaced
from analysis.episodes import BrokenEpisode
from analysis.types import EpisodeMeta
from models.errors import UserError

VERSION = 2
SCHEMA = """
CREATE TABLE origin (version INTEGER, size INTEGER, modified INTEGER);
CREATE TABLE annotations (file_path TEXT, episode_id TEXT, has_reasoning INTEGER, digest TEXT, content BLOB,
                          UNIQUE (file_path, episode_id) ON CONFLICT REPLACE);
"""


def build_ecot_index(
    annotations: Path,
    index: Path,
    progress: Callable[[int, int], None] = lambda read, size: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> EcotIndex | None:
    """The index of ``annotations`` at ``index``, made by one pass over the file unless it is there; None if cancelled.

    The index appears when it is whole. It is made again when the file's size or time changed, or when it is damaged.
    ``progress`` is told bytes read and bytes in all. Raises UserError, which says how far it got, for a bad file.
    """
    origin = _wanted(annotations)
    if _origin(index) == origin:
        return EcotIndex(index)
    try:
        with replaced(index) as part:
            _write(part, annotations, origin, progress, cancelled)
    except _Cancelled:
        return None
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(f"the index {index} cannot be written: {error}") from None
    return EcotIndex(index)


def ready_ecot_index(annotations: Path, index: Path) -> EcotIndex | None:
    """The index at ``index`` if it was made of ``annotations`` as they are now; None: it has yet to be built."""
    try:
        wanted = _wanted(annotations)
    except UserError:  # said where it is built
        return None
    return EcotIndex(index) if _origin(index) == wanted else None


@dataclass(frozen=True)
class EcotIndex:
    """Annotations by the keys that join them to Bridge's RLDS episodes: file path and episode id."""

    path: Path

    def __len__(self) -> int:
        """The number of annotated episodes."""
        with _reading(self.path) as connection:
            return int(connection.execute("SELECT count(*) FROM annotations").fetchone()[0])

    def marked(self, entries: Iterable[EpisodeMeta | BrokenEpisode]) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """The entries of a source's scan as `AnnotatedEpisode` has them once they are joined."""
        with _reading(self.path) as connection:
            for entry in entries:
                if isinstance(entry, BrokenEpisode) or not (row := _row(connection, entry, "digest, has_reasoning")):
                    yield entry
                else:
                    yield annotated(entry, row[0], bool(row[1]))

    def annotation(self, meta: EpisodeMeta) -> EcotAnnotation | None:
        """What is said about this episode, found by ``extra["file_path"]`` and ``extra["episode_id"]``; None: nothing.

        Raises UserError where the entry has another layout than ECoT's.
        """
        with _reading(self.path) as connection:
            row = _row(connection, meta, "content")
        if row is None:
            return None
        return read_annotation(meta.extra["file_path"], meta.extra["episode_id"], _unpacked(row[0], self.path))


class _Cancelled(Exception):
    """Ends a pass that was asked to stop."""


def _wanted(annotations: Path) -> tuple[int, int, int]:
    """The origin of an index of the file as it is now."""
    try:
        status = annotations.stat()
    except OSError as error:
        raise UserError(f"{annotations} cannot be read: {error.strerror}") from None
    return VERSION, status.st_size, status.st_mtime_ns


def _row(connection: sqlite3.Connection, meta: EpisodeMeta, columns: str) -> tuple[Any, ...] | None:
    keys = (meta.extra.get("file_path"), meta.extra.get("episode_id"))
    if None in keys:
        return None
    query = f"SELECT {columns} FROM annotations WHERE file_path = ? AND episode_id = ?"
    found: tuple[Any, ...] | None = connection.execute(query, keys).fetchone()
    return found


def _write(
    part: Path,
    annotations: Path,
    origin: tuple[int, int, int],
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> None:
    def told(read: int, size: int) -> None:
        progress(read, size)
        if cancelled():
            raise _Cancelled

    with closing(sqlite3.connect(part)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA
        )  # whole or thrown away
        connection.execute("INSERT INTO origin VALUES (?, ?, ?)", origin)
        for file_path, episodes in read_recordings(annotations, told):
            rows = (_as_row(file_path, id, stored) for id, stored in episodes.items())
            connection.executemany("INSERT INTO annotations VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()


def _as_row(file_path: str, id: str, stored: dict[str, Any]) -> tuple[str, str, bool, str, bytes]:
    content = annotation_json(stored)
    return file_path, id, bool(stored.get("reasoning")), annotation_digest(content), zlib.compress(content, 3)


def _unpacked(packed: bytes, path: Path) -> dict[str, Any]:
    try:
        text = zlib.decompressobj().decompress(packed, 8 * MAX_RECORDING)  # what was written is smaller
        stored: dict[str, Any] = json.loads(text)
    except (zlib.error, ValueError):
        raise _damaged(path) from None
    return stored


def _origin(index: Path) -> tuple[int, ...] | None:
    """Of which file, in which state, the index was made; None where there is no usable one."""
    try:
        with _reading(index) as connection:
            found: tuple[int, ...] | None = connection.execute("SELECT * FROM origin").fetchone()
            return found
    except UserError:
        return None


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            yield connection
    except sqlite3.DatabaseError:
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"the index {path} is damaged or absent; delete it, and it is made again from the annotations")
