"""What all episodes of one LeRobot data set share, and how meta/info.json says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from analysis.episodes.lerobot_info import IMAGES, LANGUAGE_COLUMNS, VIDEO_PATHS
from analysis.export.frames import named
from analysis.export.lerobot_video import VideoKind, video_kind
from analysis.types import Episode
from models.errors import UserError

NUMBERED = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class Layout:
    fps: float  # frames a second
    robot: str
    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    cameras: Mapping[str, tuple[int, int]]  # height and width in pixels
    kinds: Mapping[str, VideoKind]  # per camera; empty where frames are images

    @classmethod
    def of(cls, episode: Episode, sizes: Mapping[str, tuple[int, int]], video: bool) -> Layout:
        """Raises UserError for cameras that become one in LeRobot, and sizes that do not fit a video."""
        meta = episode.meta
        layout = cls(
            fps=meta.fps,
            robot=meta.robot,
            action_names=named(meta.action_names, episode.actions.shape[1], "action"),
            state_names=() if episode.states is None else named(meta.state_names, episode.states.shape[1], "state"),
            cameras=dict(sizes),
            kinds={camera: video_kind(*size) for camera, size in sizes.items()} if video else {},
        )
        if len({layout.key(camera) for camera in sizes}) < len(sizes):
            raise UserError(f"episode {meta.id!r} has cameras that differ in '/' and '_' only; rename one")
        return layout

    def check(self, other: Layout, id: str) -> None:
        """Raises UserError if an episode does not fit the data set that the first one began."""
        for name in (field.name for field in fields(self) if field.name not in ("robot", "kinds")):
            if (ours := getattr(self, name)) != (theirs := getattr(other, name)):
                raise UserError(
                    f"a LeRobot data set has one {name} for all episodes: {id!r} has {theirs}, and those before have "
                    f"{ours}; export them to folders of their own"
                )

    def key(self, camera: str) -> str:
        return f"{IMAGES}{camera.replace('/', '_')}"

    def video_path(self, camera: str, place: Mapping[str, int]) -> str:
        return VIDEO_PATHS[3].format(video_key=self.key(camera), **place)

    def features(self, language: bool) -> dict[str, Any]:
        """The ``features`` of meta/info.json."""
        out: dict[str, Any] = {"action": _feature("float32", len(self.action_names), list(self.action_names))}
        if self.state_names:
            out["observation.state"] = _feature("float32", len(self.state_names), list(self.state_names))
        for camera, (height, width) in self.cameras.items():
            kind: dict[str, Any] = {
                "dtype": "image",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
            }
            if camera in self.kinds:
                kind |= {"dtype": "video", "info": self._video_info(height, width, self.kinds[camera].codec)}
            out[self.key(camera)] = kind
        out["timestamp"] = _feature("float32", 1, None)
        out |= {name: _feature("int64", 1, None) for name in NUMBERED}
        return out | {name: _feature("language", 1, None) for name in LANGUAGE_COLUMNS if language}

    def _video_info(self, height: int, width: int, codec: str) -> dict[str, Any]:
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": self.fps,
            "video.channels": 3,
            "has_audio": False,
        }


def _feature(dtype: str, size: int, names: list[str] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": names}
