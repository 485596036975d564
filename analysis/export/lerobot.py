"""Episodes as a LeRobot data set of version 3: docs/export.md says what goes where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from analysis.episodes.encoded_image import decode
from analysis.episodes.lerobot_info import DATA_PATHS, LANGUAGE_COLUMNS
from analysis.episodes.lerobot_kept import Kept
from analysis.episodes.lerobot_kept_steps import (
    RATIONALES,
    SAID,
    STEPS,
    fingerprint,
    rationales_json,
    steps_file,
    stored_object,
)
from analysis.export.frames import Moment, check_numbers, check_texts, encoded_frames, moments
from analysis.export.lerobot_layout import Layout
from analysis.export.lerobot_meta import MetaFiles
from analysis.export.lerobot_rows import LanguageRows, language_rows
from analysis.export.lerobot_stats import Stats, of_images, of_rows
from analysis.export.lerobot_video import write_video
from analysis.types import Episode
from models.errors import UserError

DATA_BYTES = 100 << 20  # a data file is closed once it is larger
FILES_A_CHUNK = 1000
ROWS = 256  # steps in memory as rows at a time, and in a row group
KEPT_ROWS = 64  # steps in a row group of what is kept beside
SAMPLED = 16  # images of an episode that its statistics are taken from


@dataclass(frozen=True)
class Images:
    """Frames of one camera."""

    encoded: list[bytes]
    encoding: str


class LerobotFolder:
    """Writes a data set; ``language``: whether with language columns, which makes it version 3.1."""

    def __init__(self, root: Path, language: bool, video: bool) -> None:
        self.root = root
        self._language, self._video = language, video
        self._layout: Layout | None = None
        self._meta: MetaFiles | None = None
        self._file = 0  # number of the data file that is written
        self._sink: Any = None
        self._data: pq.ParquetWriter | None = None
        self._episodes = self._rows = 0

    def add(self, episode: Episode) -> None:
        """Raises UserError, and leaves nothing, if the episode cannot be read or differs in kind from the first."""
        check_numbers(episode)
        check_texts(episode)
        found = {camera: encoded_frames(episode, camera) for camera in episode.meta.cameras}
        layout = Layout.of(episode, {camera: size for camera, (_, _, size) in found.items()}, self._video)
        if self._layout is not None:
            self._layout.check(layout, episode.meta.id)
        frames = {camera: Images(encoded, kind) for camera, (encoded, kind, _) in found.items()}
        times = (np.arange(episode.meta.length) / episode.meta.fps).astype(np.float32)
        said = language_rows(episode.rationales, times, episode.meta.cameras)
        fingered = fingerprint(said.read_back(times)) if episode.rationales else ""
        known = moments(episode)
        stats = self._stats(episode, layout, frames, times)
        if self._video:
            self._write_videos(episode, layout)
        self._begin(layout)
        if known or episode.rationales:
            self._keep(episode, known, fingered)
        self._write_rows(episode, layout, frames, times, said)
        self._list(episode, bool(known or episode.rationales), stats)

    def close(self) -> None:
        """Ends the files under data/ and meta/."""
        self._end_file()
        if self._meta is not None:
            self._meta.close(self._episodes, self._rows)

    def _begin(self, layout: Layout) -> None:
        if self._layout is None or self._meta is None:
            self._layout, self._meta = layout, MetaFiles(self.root, layout, self._language)

    def _write_rows(
        self, episode: Episode, layout: Layout, frames: dict[str, Images], times: np.ndarray, said: LanguageRows
    ) -> None:
        for start in range(0, episode.meta.length, ROWS):
            stop = min(start + ROWS, episode.meta.length)
            table = pa.table(dict(self._columns(episode, layout, frames, times, said, slice(start, stop))))
            if self._data is None:
                place = self._place()
                path = self.root / DATA_PATHS[3].format(**place)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._sink = path.open("wb")
                self._data = pq.ParquetWriter(self._sink, table.schema)
            self._data.write_table(table)

    def _columns(
        self,
        episode: Episode,
        layout: Layout,
        frames: dict[str, Images],
        times: np.ndarray,
        said: LanguageRows,
        part: slice,
    ) -> Iterator[tuple[str, pa.Array]]:
        yield "action", _vectors(episode.actions[part])
        if episode.states is not None:
            yield "observation.state", _vectors(episode.states[part])
        for camera, images in frames.items() if not self._video else ():
            suffix = {"jpeg": "jpg"}.get(images.encoding, images.encoding)
            numbered = enumerate(images.encoded[part], part.start)
            rows = [{"bytes": data, "path": f"frame-{index:06d}.{suffix}"} for index, data in numbered]
            kind = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
            yield layout.key(camera), pa.array(rows, kind)
        yield "timestamp", pa.array(times[part], pa.float32())
        numbers = np.arange(part.start, part.stop)
        yield "frame_index", pa.array(numbers, pa.int64())
        yield "episode_index", pa.array(np.full(len(numbers), self._episodes), pa.int64())
        yield "index", pa.array(numbers + self._rows, pa.int64())
        assert self._meta is not None
        task = self._meta.task_index(episode.meta.instruction)
        yield "task_index", pa.array(np.full(len(numbers), task), pa.int64())
        for name in LANGUAGE_COLUMNS if self._language else ():
            yield name, said.column(name, part.start, part.stop)

    def _write_videos(self, episode: Episode, layout: Layout) -> None:
        paths = {key: self.root / layout.video_path(key, self._video_place()) for key in episode.meta.cameras}
        try:
            for camera, path in paths.items():
                images = (episode.frame(camera, index) for index in range(episode.meta.length))
                write_video(path, images, episode.meta.fps, layout.kinds[camera])
        except UserError:  # this episode may be left out, and then none of its files stay
            for path in paths.values():
                path.unlink(missing_ok=True)
            raise

    def _keep(self, episode: Episode, known: list[Moment], said: str) -> None:
        """Phases, objects and rationales, in a file of their own."""
        path = self.root / steps_file(self._episodes)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {RATIONALES: rationales_json(episode.rationales), SAID: said.encode()}
        with pq.ParquetWriter(path, STEPS.with_metadata(metadata)) as writer:
            for start in range(0, episode.meta.length, KEPT_ROWS):
                part = known[start : start + KEPT_ROWS] or [Moment("", {})] * min(
                    KEPT_ROWS, episode.meta.length - start
                )
                objects = [
                    [stored_object(camera, thing) for camera, seen in one.objects.items() for thing in seen]
                    for one in part
                ]
                columns = {"phase": [one.phase for one in part], "objects": objects}
                writer.write_table(pa.Table.from_pydict(columns, STEPS.with_metadata(metadata)))

    def _stats(
        self, episode: Episode, layout: Layout, frames: dict[str, Images], times: Float32[np.ndarray, " T"]
    ) -> dict[str, Stats]:
        length = len(times)
        columns = {"action": episode.actions}
        columns |= {} if episode.states is None else {"observation.state": episode.states}
        numbers = np.arange(length)
        columns |= {"timestamp": times[:, None], "frame_index": numbers[:, None]}
        columns |= {"episode_index": np.full((length, 1), self._episodes), "index": numbers[:, None] + self._rows}
        out = {key: of_rows(np.asarray(values, np.float64)) for key, values in columns.items()}
        for camera, images in frames.items():
            chosen = np.unique(np.linspace(0, length - 1, min(SAMPLED, length)).astype(int))
            where = f"a frame of camera {camera!r} in {episode.meta.id!r}"
            out[layout.key(camera)] = of_images([decode(images.encoded[index], where) for index in chosen])
        return out

    def _list(self, episode: Episode, kept: bool, stats: dict[str, Stats]) -> None:
        assert self._meta is not None and self._layout is not None
        meta, place = episode.meta, self._place()
        units = (meta.action_units, meta.state_units)
        own = Kept(meta.id, meta.task, meta.robot, meta.digest, *units, dict(meta.extra), kept)
        row = {"episode_index": self._episodes, "tasks": [meta.instruction], "length": meta.length}
        row |= {f"data/{name}": number for name, number in place.items()}
        row |= {"dataset_from_index": self._rows, "dataset_to_index": self._rows + meta.length}
        for camera in meta.cameras if self._video else ():
            key = f"videos/{self._layout.key(camera)}"
            row |= {f"{key}/{name}": number for name, number in self._video_place().items()}
            row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": meta.length / meta.fps}
        self._meta.add(row | {"success": meta.success}, own, stats)
        self._episodes, self._rows = self._episodes + 1, self._rows + meta.length
        if self._sink.tell() > DATA_BYTES:
            self._end_file()
            self._file += 1

    def _place(self) -> dict[str, int]:
        return {"chunk_index": self._file // FILES_A_CHUNK, "file_index": self._file % FILES_A_CHUNK}

    def _video_place(self) -> dict[str, int]:
        """A video file an episode: one that cannot be encoded leaves no trace in another."""
        return {"chunk_index": self._episodes // FILES_A_CHUNK, "file_index": self._episodes % FILES_A_CHUNK}

    def _end_file(self) -> None:
        if self._data is not None:
            self._data.close()
            self._sink.close()
            self._data = None


def _vectors(values: np.ndarray) -> pa.Array:
    """Rows of numbers as LeRobot has them: plain numbers where there is but one in a row."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1), pa.float32())
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
