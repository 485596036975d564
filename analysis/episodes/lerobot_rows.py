"""Rows of LeRobot's parquet files: what the footer says, the steps of one episode, and its images as stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from analysis.episodes.file_bytes import opening, path_or_stream
from analysis.episodes.lerobot_listing import DAMAGED, MAX_STEPS
from models.errors import UserError

MAX_COLUMN_BYTES = 2 << 30  # of one column in one row group, as unpacked
BATCH = 4096  # rows in memory at a time
NOBODY = -1  # the number of no episode
IMAGES = 8  # rows of images in memory at a time


@dataclass(frozen=True)
class RowGroup:
    start: int  # first row in the file
    rows: int
    low: int | None  # lowest and highest episode in it; None: it does not say
    high: int | None
    digest: bytes  # of its bytes without those of images, of which only the sizes count

    def may_hold(self, episode: int) -> bool:
        return self.low is None or self.high is None or self.low <= episode <= self.high


@dataclass(frozen=True)
class EpisodeTable:
    """The rows of one episode, and the number of the first in the file."""

    table: pa.Table
    first: int


@lru_cache(maxsize=131_072)
def row_groups(
    path: Path, stamp: tuple[int, int], images: tuple[str, ...], wanted: tuple[int, int] | None = None
) -> tuple[RowGroup, ...]:
    """What is in each row group, kept by size and modification time. Unpacks episode numbers and a row of the rest.

    Groups without a row of ``wanted``, a first row and the one after the last, are not looked into: they hold nothing.
    Raises UserError for a file that is cut short or no parquet.
    """
    out, start = [], 0
    with reading(path, buffered=True) as file, opening(path) as stream:
        meta = file.metadata
        leaves = range(len(file.schema))
        names = [file.schema.column(place).path for place in leaves]
        looked_at = groups_with(file, wanted)
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            if number not in looked_at:
                out.append(RowGroup(start, group.num_rows, NOBODY, NOBODY, b""))
                start += group.num_rows
                continue
            low, high = _checked_span(file, number)
            digest = hashlib.sha256()
            for place in leaves:
                column, name = group.column(place), names[place]
                digest.update(f"{name}:{column.num_values}:{column.total_compressed_size};".encode())
                if not any(name == key or name.startswith(f"{key}.") for key in images):
                    digest.update(_chunk(stream, column, stamp[0], path))
            out.append(RowGroup(start, group.num_rows, low, high, digest.digest()))
            start += group.num_rows
    return tuple(out)


def groups_with(file: pq.ParquetFile, wanted: tuple[int, int] | None) -> list[int]:
    """The row groups with rows in ``wanted``, a first row and the one after the last; all where it is None."""
    out, start = [], 0
    for number in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(number).num_rows
        if wanted is None or (start < wanted[1] and wanted[0] < stop):
            out.append(number)
        start = stop
    return out


def _checked_span(file: pq.ParquetFile, number: int) -> tuple[int | None, int | None]:
    """The lowest and highest episode of a row group; they are read, because damaged statistics end the process.

    So does a damaged description of a column when it is looked at; reading a row of every column raises instead.
    """
    for _ in file.iter_batches(batch_size=1, row_groups=[number], use_threads=False):
        break
    if "episode_index" not in file.schema_arrow.names:
        return None, None
    low: int | None = None
    high: int | None = None
    for batch in file.iter_batches(BATCH, row_groups=[number], columns=["episode_index"], use_threads=False):
        found = pc.min_max(batch.column(batch.schema.get_field_index("episode_index"))).as_py()
        if not isinstance(found["min"], int) or not isinstance(found["max"], int):
            return None, None
        low = found["min"] if low is None else min(low, found["min"])
        high = found["max"] if high is None else max(high, found["max"])
    return low, high


def _chunk(stream: Any, column: pq.ColumnChunkMetaData, size: int, path: Path) -> bytes:
    begin = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset is not None:
        begin = min(begin, column.dictionary_page_offset)
    if not (begin >= 0 and 0 <= column.total_compressed_size <= size - begin):
        raise UserError(f"{path.name} is cut short or damaged: it has {size:,} bytes and its footer promises more")
    stream.seek(begin)
    return bytes(stream.read(column.total_compressed_size))


def read_episode(
    path: Path, groups: Sequence[RowGroup], columns: Sequence[str], episode: int | None, length: int
) -> EpisodeTable:
    """The rows of ``episode``, or of the whole file where it is None.

    Raises UserError for absent columns, and for rows that are not ``length`` or not next to each other.
    """
    wanted = [number for number, group in enumerate(groups) if episode is None or group.may_hold(episode)]
    places: list[np.ndarray] = []
    kept: list[pa.RecordBatch] = []
    with reading(path) as file:
        names = [*columns, *(() if episode is None or "episode_index" in columns else ("episode_index",))]
        check_columns(file, names, wanted, path)
        for start, batch in _numbered(file, groups, wanted, names, BATCH):
            if episode is None:
                mask = np.ones(batch.num_rows, bool)
            else:
                index = batch.column(batch.schema.get_field_index("episode_index"))
                mask = np.asarray(pc.fill_null(pc.equal(index, episode), False))
            if mask.any():
                kept.append(batch if mask.all() else batch.filter(pa.array(mask)))
                places.append(start + np.flatnonzero(mask))
            if sum(map(len, places)) > length:
                break
        rows = np.concatenate(places) if places else np.zeros(0, np.int64)
        if len(rows) != length:
            found = "more" if len(rows) > length else f"{len(rows)}"
            raise UserError(f"lengths disagree: the list of episodes says {length} steps, {path.name} has {found}")
        if rows[-1] - rows[0] + 1 != length:
            raise UserError(f"the rows of episode {episode} in {path.name} are not next to each other")
        return EpisodeTable(pa.Table.from_batches(kept), int(rows[0]))


def read_images(path: Path, groups: Sequence[RowGroup], column: str, row: int) -> list[Any]:
    """Up to 8 stored images from ``row`` of the file on, each bytes or a dictionary of bytes and path."""
    number = next((n for n, group in enumerate(groups) if group.start <= row < group.start + group.rows), None)
    if number is None:
        raise UserError(f"{path.name} has no row {row}; it was changed or cut short")
    with reading(path, buffered=True) as file:
        check_columns(file, (column,), (number,), path)
        for start, batch in _numbered(file, groups, [number], (column,), IMAGES):
            if start <= row < start + batch.num_rows:
                images: list[Any] = batch.column(batch.schema.get_field_index(column)).slice(row - start).to_pylist()
                return images
    raise UserError(f"{path.name} has no row {row}; it was changed or cut short")


def matrix(
    table: pa.Table, key: str, size: int, path: Path, kind: type[np.floating[Any]] = np.float32, gaps: bool = False
) -> Float[np.ndarray, "T C"]:
    """A column of ``size`` numbers a row as float32, or as ``kind``. Raises UserError if it is anything else.

    ``gaps``: rows and numbers may be absent, and are NaN then.
    """
    column = table.column(key).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    said = f"column {key!r} of {path.name}"
    there = np.ones(table.num_rows, bool)
    if gaps:
        there = np.asarray(column.is_valid())
        column = column.drop_null()
    while (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        _no_gaps(column, said)
        lengths = pc.min_max(pc.list_value_length(column)).as_py()
        if lengths["min"] != lengths["max"]:
            raise UserError(f"{said} has rows of {lengths['min']} to {lengths['max']} numbers; expected {size} in each")
        column = column.flatten()
    found = column.type
    if not gaps:
        _no_gaps(column, said)
    elif pa.types.is_null(found):  # what writers infer where nothing is there
        column, found = column.cast(pa.float32()), pa.float32()
    if not (pa.types.is_floating(found) or pa.types.is_integer(found) or pa.types.is_boolean(found)):
        raise UserError(f"{said} holds {found}; expected numbers")
    values = column.to_numpy(zero_copy_only=False).astype(kind)
    rows = int(there.sum())
    if len(values) != rows * size:
        raise UserError(f"{said} has {len(values) / max(rows, 1):g} numbers a row; expected {size}, as info.json says")
    out = np.full((table.num_rows, size), np.nan, kind)
    out[there] = values.reshape(rows, size)
    return out


def check_columns(file: pq.ParquetFile, names: Sequence[str], groups: Sequence[int], path: Path) -> None:
    """Raises UserError if a column is absent or claims an implausible size."""
    have = file.schema_arrow.names
    for name in names:
        if name not in have:
            raise UserError(f"{path.name} has no column {name!r}; it has {', '.join(have[:12])}")
    for number in groups:
        group = file.metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.total_uncompressed_size > MAX_COLUMN_BYTES or group.num_rows > 1000 * MAX_STEPS:
                raise UserError(
                    f"{column.path_in_schema!r} in {path.name} claims {column.total_uncompressed_size:,} bytes; "
                    f"at most {MAX_COLUMN_BYTES:,} are unpacked"
                )


@contextmanager
def reading(path: Path, buffered: bool = False) -> Iterator[pq.ParquetFile]:
    """The file open for reading; whatever the library raises for a damaged one becomes a UserError."""
    try:
        with pq.ParquetFile(path_or_stream(path), buffer_size=(1 << 20) if buffered else 0, pre_buffer=False) as file:
            yield file
    except DAMAGED as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"{path.name} is damaged or no parquet file ({said or type(error).__name__})") from None


def _no_gaps(column: pa.Array, said: str) -> None:
    if column.null_count:
        raise UserError(f"{said} has {column.null_count} empty entries; expected a number in each")


def _numbered(
    file: pq.ParquetFile, groups: Sequence[RowGroup], wanted: Sequence[int], names: Sequence[str], size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of rows with the number of their first row in the file."""
    for number in wanted:
        start = groups[number].start
        for batch in file.iter_batches(batch_size=size, row_groups=[number], columns=list(names), use_threads=False):
            yield start, batch
            start += batch.num_rows
