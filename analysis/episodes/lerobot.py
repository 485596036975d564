"""LeRobot data sets, versions 2.0 to 3.1: docs/episode-lerobot.md says what is read and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from analysis.episodes.file_bytes import Unreachable, beginning, is_remote
from analysis.episodes.lerobot_cameras import Cameras, usable_cameras
from analysis.episodes.lerobot_digest import episode_digest
from analysis.episodes.lerobot_episode import LerobotEpisode
from analysis.episodes.lerobot_info import INFO, Camera, LerobotInfo, Vector, read_info
from analysis.episodes.lerobot_kept_steps import KeptSteps
from analysis.episodes.lerobot_language import file_flags, read_rationales
from analysis.episodes.lerobot_listing import EpisodeRow, read_listing
from analysis.episodes.lerobot_paths import present, stamp
from analysis.episodes.lerobot_places import ImagePlace, VideoPlace
from analysis.episodes.lerobot_rows import RowGroup, matrix, read_episode, row_groups
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta
from models.errors import UserError

TASK = "task_index"
LISTS = ("episodes.jsonl", "episodes", "tasks.jsonl", "tasks.parquet", "stats.json")


class LerobotSource:
    """A folder with ``meta/info.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rows: tuple[tuple[Any, ...], dict[str, EpisodeRow]] | None = None  # of the list as it was read last

    @classmethod
    def handles(cls, path: Path) -> bool:
        info = path / INFO
        if not info.is_file():
            return False
        head = beginning(info, 1 << 16)
        return b'"codebase_version"' in head or any((path / "meta" / name).exists() for name in LISTS)

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Reads lists, footers and indices; no row is unpacked (but success and language columns), no frame decoded."""
        try:
            info = read_info(self.root)
        except UserError as error:
            yield BrokenEpisode(str(self.root / INFO), str(error))
            return
        seen: set[str] = set()
        lost: dict[str, list[str]] = {}  # camera -> why, for each episode that lacks it
        for row in read_listing(self.root, info):
            if isinstance(row, BrokenEpisode):
                yield row
            elif row.id in seen:
                yield BrokenEpisode(
                    str(self.root / row.data), f"the list under meta/ has {row.id} twice; ids are unique"
                )
            else:
                seen.add(row.id)
                try:
                    path, cameras = self._files(info, row)
                    yield self._meta(info, row, path, cameras)
                except UserError as error:
                    yield BrokenEpisode(str(self.root / row.data), f"{row.id}: {error}")
                    continue
                for name, reason in cameras.lost.items():
                    lost.setdefault(name, []).append(reason)
        for name, reasons in lost.items():
            where = f"in {len(reasons):,} of {len(seen):,} episodes, which can be used without"
            yield BrokenEpisode(str(self.root), f"camera {name!r} is left out {where}; the first: {reasons[0]}")

    def open(self, id: str) -> LerobotEpisode:
        info = read_info(self.root)
        rows = self._listed(info)
        if id not in rows:
            some = ", ".join(list(rows)[:5])
            raise UserError(
                f"there is no episode {id!r} at {self.root}; it lists {len(rows)}, such as {some or 'none'}"
            )
        row = rows[id]
        if row.first is not None:
            try:
                return self._opened(info, row, (row.first, row.first + row.length))
            except Unreachable:
                raise
            except UserError:  # the list may be wrong about the place: look for the rows in the whole file
                pass
        return self._opened(info, row, None)

    def _opened(self, info: LerobotInfo, row: EpisodeRow, wanted: tuple[int, int] | None) -> LerobotEpisode:
        """``wanted``: the rows of the file in which the episode lies, a first one and the one after the last."""
        path, cameras = self._files(info, row)
        meta = self._meta(info, row, path, cameras, wanted)
        groups = row_groups(path, stamp(path), info.image_keys, wanted)
        columns = [vector.key for vector in (*info.actions, *info.states)]
        found = read_episode(
            path,
            groups,
            [*columns, *(("timestamp",) if info.timed else ()), *info.language, *((TASK,) if row.texts else ())],
            row.index if row.shared else None,
            row.length,
        )
        times = np.arange(row.length) / info.fps
        if info.timed:
            said = matrix(found.table, "timestamp", 1, path, np.float64, gaps=True)[:, 0]
            times = np.where(np.isfinite(said), said, times)
        rationales = read_rationales(found.table, info.language, times, path) if info.language else ()
        kept = KeptSteps.open(self.root, row.index, row.length) if row.kept and row.kept.steps else None
        episode = LerobotEpisode(
            meta=meta,
            actions=_finite(_joined(found.table, info.actions, path), meta.action_names, path),
            states=_joined(found.table, info.states, path, gaps=True) if info.states else None,
            rationales=kept.exact(rationales) if kept else rationales,
            places={c.name: _place(self.root, info, c, row, groups, found.first, times) for c in cameras.shown},
            kept=kept,
            instructions=_instructions(found.table, row, path),
        )
        for place in episode.places.values():
            place.check()
        return episode

    def _listed(self, info: LerobotInfo) -> dict[str, EpisodeRow]:
        """The list by id, kept while the files under meta/ stay as they are."""
        files = [path for path in sorted((self.root / "meta").rglob("*.*")) if path.is_file()]
        now = (info, tuple((str(path), *stamp(path)) for path in files))
        if self._rows is None or self._rows[0] != now:
            rows: dict[str, EpisodeRow] = {}
            for row in read_listing(self.root, info):
                if isinstance(row, EpisodeRow):
                    rows.setdefault(row.id, row)
            self._rows = now, rows
        return self._rows[1]

    def _files(self, info: LerobotInfo, row: EpisodeRow) -> tuple[Path, Cameras]:
        return present(self.root, row.data), usable_cameras(self.root, info, row)

    def _meta(
        self,
        info: LerobotInfo,
        row: EpisodeRow,
        path: Path,
        cameras: Cameras,
        wanted: tuple[int, int] | None = None,
    ) -> EpisodeMeta:
        own: list[RowGroup] = []
        indices = list(cameras.indices)
        if is_remote(path):  # versions stand for contents, which are not fetched for a list
            indices.insert(0, repr(stamp(path)).encode())
        else:
            groups = row_groups(path, stamp(path), info.image_keys, wanted)
            own = [group for group in groups if not row.shared or group.may_hold(row.index)]
            _check_rows(row, own, path)
        success, said = row.success, False
        if info.success or info.language:
            flags = file_flags(path, stamp(path), info.success, info.language, row.shared, wanted)
            if (one := flags.get(row.index if row.shared else 0)) is not None:
                success, said = one.success if success is None else success, one.has_rationale
        meta = EpisodeMeta(
            id=row.id,
            source=str(path),
            instruction=row.tasks[0] if row.tasks else "",
            length=row.length,
            fps=info.fps,
            cameras=tuple(camera.name for camera in cameras.shown),
            success=success,
            task=row.tasks[0] if row.tasks else "",
            robot=info.robot,
            action_names=_names(info.actions),
            action_units=("",) * len(_names(info.actions)),
            state_names=_names(info.states),
            state_units=("",) * len(_names(info.states)),
            has_rationale=said,
            digest=episode_digest(info, row, own, indices),
            extra={"codebase_version": info.version}
            | ({"other tasks": "\n".join(row.tasks[1:])} if len(row.tasks) > 1 else {})
            | ({"depth cameras, not shown": ", ".join(info.depth)} if info.depth else {})
            | ({"columns, not read": "\n".join(info.unread)} if info.unread else {}),
        )
        meta = row.kept.restored(meta) if row.kept else meta
        lost = "\n".join(f"{name}: {reason}" for name, reason in cameras.lost.items())
        return replace(meta, extra={**meta.extra, "cameras, left out": lost}) if lost else meta


def _instructions(table: pa.Table, row: EpisodeRow, path: Path) -> tuple[str, ...]:
    """The task of each step, where there are several and the steps say which."""
    if not row.texts:
        return ()
    numbers = matrix(table, TASK, 1, path, np.float64, gaps=True)[:, 0]
    return tuple(row.texts.get(int(number), row.tasks[0]) for number in np.nan_to_num(numbers, nan=-1))


def _place(
    root: Path,
    info: LerobotInfo,
    camera: Camera,
    row: EpisodeRow,
    groups: tuple[RowGroup, ...],
    first: int,
    times: np.ndarray,
) -> VideoPlace | ImagePlace:
    if camera.video:
        path = root / row.videos[camera.name].path
        return VideoPlace(camera.name, row.id, path, stamp(path), times + row.videos[camera.name].start, info.fps)
    path = root / row.data
    return ImagePlace(camera.name, row.id, root, path, stamp(path), groups, camera.key, first)


def _check_rows(row: EpisodeRow, own: list[RowGroup], path: Path) -> None:
    """Compares lengths where the footer alone can tell."""
    alone = not row.shared or all(group.low == group.high == row.index for group in own)
    if alone and (found := sum(group.rows for group in own)) != row.length:
        raise UserError(f"lengths disagree: the list of episodes says {row.length} steps, {path.name} has {found}")


def _names(vectors: tuple[Vector, ...]) -> tuple[str, ...]:
    """The names of all dimensions; with several columns, a name that two have is told apart by its column."""
    names = [name for vector in vectors for name in vector.names]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{vector.key}.{name}" for vector in vectors for name in vector.names)


def _joined(table: pa.Table, vectors: tuple[Vector, ...], path: Path, gaps: bool = False) -> Float[np.ndarray, "T D"]:
    values = [matrix(table, vector.key, len(vector.names), path, gaps=gaps) for vector in vectors]
    return np.concatenate(values, axis=1)


def _finite(values: np.ndarray, names: tuple[str, ...], path: Path) -> np.ndarray:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        step, column = (int(place) for place in bad[0])
        raise UserError(
            f"{path.name} has {len(bad)} values that are no finite number; the first is {values[step, column]} at step "
            f"{step}, dimension {names[column]!r}"
        )
    return values
