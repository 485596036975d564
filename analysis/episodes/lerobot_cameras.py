"""Which cameras of an episode can be shown, and why others cannot: a data set may be downloaded without some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.episodes.file_bytes import Unreachable, is_remote
from analysis.episodes.lerobot_digest import video_index
from analysis.episodes.lerobot_info import Camera, LerobotInfo
from analysis.episodes.lerobot_listing import EpisodeRow, VideoPart
from analysis.episodes.lerobot_paths import present, stamp
from analysis.episodes.video import video_reach
from models.errors import UserError


@dataclass(frozen=True)
class Cameras:
    shown: tuple[Camera, ...]  # at least one
    lost: Mapping[str, str]  # name of a camera -> why its video cannot be used
    indices: tuple[bytes, ...]  # of the videos shown, for the episode's digest


def usable_cameras(root: Path, info: LerobotInfo, row: EpisodeRow) -> Cameras:
    """Looks at files and their indices, not at frames. Raises UserError with the first reason if no camera is left."""
    indices: list[bytes] = []
    lost: dict[str, str] = {}
    for name, part in row.videos.items():
        try:
            indices.append(_index(root, part, part.start + row.length / info.fps, info.fps))
        except Unreachable:
            raise
        except UserError as error:
            lost[name] = str(error)
    shown = tuple(camera for camera in info.cameras if camera.name not in lost)
    if not shown:
        raise UserError(next(iter(lost.values())))
    return Cameras(shown, lost, tuple(indices))


def _index(root: Path, part: VideoPart, stop: float, fps: float) -> bytes:
    """Raises UserError if the file is absent, or ends before ``stop``, the second at which the episode does."""
    path = present(root, part.path)
    if is_remote(path):  # its version stands for contents, which are not fetched for a list
        return repr(stamp(path)).encode()
    index = video_index(path, stamp(path))
    if index.cut and video_reach(path, stamp(path)) < stop - 0.5 / fps:
        raise UserError(index.cut)
    return index.digest
