"""The files under meta/ of a LeRobot data set: the list of episodes as it grows, tasks, statistics, info.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.episodes.lerobot_info import DATA_PATHS, VIDEO_PATHS
from analysis.episodes.lerobot_kept import COLUMN, Kept
from analysis.export.lerobot_layout import Layout
from analysis.export.lerobot_stats import RunningStats, Stats

BATCH = 200  # rows of the list that wait in memory
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
SHARED = {"chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200}
TASKS_INDEX = {  # so that pandas finds the texts as the index, which LeRobot looks tasks up in
    "index_columns": ["__index_level_0__"],
    "column_indexes": [],
    "columns": [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {
            "name": None,
            "field_name": "__index_level_0__",
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        },
    ],
    "creator": {"library": "pyarrow", "version": pa.__version__},
    "pandas_version": "2.0.0",
}


class MetaFiles:
    def __init__(self, root: Path, layout: Layout, language: bool) -> None:
        self.root, self.layout, self.language = root, layout, language
        self._tasks: dict[str, int] = {}
        self._waiting: list[dict[str, Any]] = []
        self._totals: dict[str, RunningStats] = {}
        self._schema: pa.Schema | None = None
        self._list: pq.ParquetWriter | None = None

    def task_index(self, text: str) -> int:
        return self._tasks.setdefault(text, len(self._tasks))

    def add(self, row: Mapping[str, Any], kept: Kept, stats: Mapping[str, Stats]) -> None:
        """One episode of the list."""
        length = int(row["length"])
        task = np.full((1,), float(self.task_index(row["tasks"][0])))
        same = dict.fromkeys(("min", "max", "mean", "q01", "q10", "q50", "q90", "q99"), task)
        stats = dict(stats) | {"task_index": same | {"std": np.zeros(1), "count": np.array([length])}}
        for key, one in stats.items():
            self._totals.setdefault(key, RunningStats()).add(one)
        flat = {f"stats/{key}/{name}": value.tolist() for key, one in stats.items() for name, value in one.items()}
        place = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._waiting.append(dict(row) | {COLUMN: kept.as_json()} | flat | place)
        if len(self._waiting) >= BATCH:
            self._flush()

    def close(self, episodes: int, rows: int) -> None:
        self._flush()
        if self._list is not None:
            self._list.close()
        tasks = pa.table(
            {"task_index": pa.array(self._tasks.values(), pa.int64()), "__index_level_0__": [*self._tasks]}
        )
        metadata = {b"pandas": json.dumps(TASKS_INDEX).encode()}
        pq.write_table(tasks.replace_schema_metadata(metadata), self.root / "meta/tasks.parquet")
        stats = {
            key: {name: value.tolist() for name, value in total.result().items()} for key, total in self._totals.items()
        }
        self._write_json("meta/stats.json", stats)
        fps = self.layout.fps
        info = {
            "codebase_version": "v3.1" if self.language else "v3.0",
            "robot_type": self.layout.robot or None,
            "total_episodes": episodes,
            "total_frames": rows,
            "total_tasks": len(self._tasks),
            "fps": int(fps) if fps == int(fps) else fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATHS[3],
            "video_path": VIDEO_PATHS[3] if self.layout.kinds else None,
            "features": self.layout.features(self.language),
        }
        self._write_json("meta/info.json", info | SHARED)

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._list is None:
            path = self.root / EPISODES
            path.parent.mkdir(parents=True, exist_ok=True)
            self._schema = self._schema_of(self._waiting[0])
            self._list = pq.ParquetWriter(path, self._schema)
        self._list.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting.clear()

    def _schema_of(self, row: Mapping[str, Any]) -> pa.Schema:
        """Types told from the first row, but for those of columns that may be empty in it."""
        known = {"success": pa.bool_(), COLUMN: pa.string(), "tasks": pa.list_(pa.string())}
        found = pa.Table.from_pylist([dict(row)]).schema
        return pa.schema([pa.field(one.name, known.get(one.name, one.type)) for one in found])

    def _write_json(self, name: str, value: Any) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=4, ensure_ascii=False), encoding="utf-8")
