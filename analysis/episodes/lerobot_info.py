"""What meta/info.json says about a LeRobot data set, with everything that can be wrong in it named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.episodes.lerobot_paths import bounded_text, clean
from models.errors import UserError

INFO = "meta/info.json"
MAX_INFO_BYTES = 16 << 20
MAX_COLUMNS = 1_000
DATA_PATHS = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
VIDEO_PATHS = {
    2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
ACTIONS = (("action",), ("action.*",), ("actions",), ("actions.*",))  # the first that has columns of numbers is taken
STATES = (
    ("observation.state",),
    ("observation.state.*",),
    ("observation.states.*",),  # AgiBot World
    ("state",),  # openpi's conversions
    ("joint_position", "gripper_position"),  # openpi's conversion of DROID
)
SUCCESS_COLUMNS = ("next.success", "success", "is_episode_successful")
LANGUAGE_COLUMNS = ("language_persistent", "language_events")
IMAGES = "observation.images."
NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")


@dataclass(frozen=True)
class Vector:
    """A column of numbers, one row a step."""

    key: str
    names: tuple[str, ...]  # one a dimension


@dataclass(frozen=True)
class Camera:
    name: str  # the key without ``observation.images.``
    key: str
    video: bool  # in an mp4 file; otherwise images in the parquet file


@dataclass(frozen=True)
class LerobotInfo:
    version: str  # "v2.1"
    major: int
    fps: float  # frames a second
    robot: str
    data_path: str  # template
    video_path: str  # template
    chunk_size: int  # episodes a folder, in version 2
    episodes: int  # how many the data set should have; 0 where it is not said
    actions: tuple[Vector, ...]
    states: tuple[Vector, ...]
    cameras: tuple[Camera, ...]
    success: tuple[str, ...]  # columns that say whether the task is done
    language: tuple[str, ...]  # columns of language rows
    depth: tuple[str, ...]  # depth cameras, which are not shown
    unread: tuple[str, ...]  # why a column of actions or states is left out, a sentence each
    timed: bool  # whether a column says the time of each step

    @property
    def image_keys(self) -> tuple[str, ...]:
        return tuple(camera.key for camera in self.cameras if not camera.video)


def read_info(root: Path) -> LerobotInfo:
    """Reads ``meta/info.json``. Raises UserError with one sentence for the first thing that is wrong."""
    stored = _json_object(bounded_text(root, INFO, MAX_INFO_BYTES))
    version = stored.get("codebase_version")
    major = {"v2": 2, "v3": 3}.get(version.split(".")[0]) if isinstance(version, str) else None
    if major is None or not isinstance(version, str):
        raise UserError(f"{INFO} has codebase_version {version!r}; this program reads v2.0, v2.1, v3.0 and v3.1")
    features = stored.get("features")
    if not isinstance(features, dict) or not all(isinstance(given, dict) for given in features.values()):
        raise UserError(f"{INFO} has no 'features' that describe the columns")
    fps = _rate(stored.get("fps"))
    chunk_size = stored.get("chunks_size", 1000)
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
        raise UserError(f"{INFO} has chunks_size {chunk_size!r}; expected a positive whole number")
    actions, unread = _vectors(features, ACTIONS)
    if not actions:
        none = f"{INFO} names no action; its features are {', '.join(list(features)[:10]) or 'none'}"
        raise UserError(unread[0] if unread else none)
    states, odd = _vectors(features, STATES)
    cameras, depth = _cameras(features)
    return LerobotInfo(
        version=clean(version[:20]),
        major=major,
        fps=fps,
        robot=clean(str(stored.get("robot_type") or "")),
        data_path=_template(stored, "data_path", DATA_PATHS[major]),
        video_path=_template(stored, "video_path", VIDEO_PATHS[major]),
        chunk_size=chunk_size,
        episodes=total if isinstance(total := stored.get("total_episodes"), int) else 0,
        actions=actions,
        states=states,
        cameras=cameras,
        success=tuple(key for key in SUCCESS_COLUMNS if key in features),
        language=tuple(key for key in LANGUAGE_COLUMNS if key in features),
        depth=depth,
        unread=(*unread, *odd),
        timed="timestamp" in features,
    )


def _json_object(text: str) -> dict[str, Any]:
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{INFO} is no JSON: {str(error)[:200]}") from None
    if not isinstance(stored, dict):
        raise UserError(f"{INFO} holds a {type(stored).__name__}; expected an object")
    return stored


def _template(stored: Mapping[str, Any], key: str, usual: str) -> str:
    given = stored.get(key)
    if given is None:  # data sets without videos say null
        return usual
    if not isinstance(given, str):
        raise UserError(f"{INFO} has {key} {given!r}; expected a path such as {usual}")
    return given


def _rate(fps: Any) -> float:
    """Frames a second; some writers put the number in quotes."""
    try:
        found = math.nan if isinstance(fps, bool) or not isinstance(fps, int | float | str) else float(fps)
    except (ValueError, OverflowError):
        found = math.nan
    if not 0 < found <= 10_000:
        raise UserError(f"{INFO} says {repr(fps)[:100]} frames a second; expected a positive number")
    return found


def _vectors(
    features: Mapping[str, Mapping[str, Any]], choices: Sequence[Sequence[str]]
) -> tuple[tuple[Vector, ...], list[str]]:
    """The columns of the first choice that has any, in the order of the file, and why others are left out.

    A choice is a list of names; ``action.*`` stands for all that begin with ``action.``.
    """
    unread: list[str] = []
    for choice in choices:
        found = []
        for name in (name for name in features if any(_named(name, wanted) for wanted in choice)):
            try:
                found.append(_vector(features[name], name))
            except UserError as error:
                unread.append(str(error))
        if found:
            return tuple(found), unread
    return (), unread


def _named(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith(".*") else name == wanted


def _vector(feature: Mapping[str, Any], name: str) -> Vector:
    if feature.get("dtype") not in NUMBERS:
        raise UserError(f"{INFO}: {name!r} has dtype {repr(feature.get('dtype'))[:100]}; expected numbers")
    return Vector(name, _names(feature, name, _size(feature, name)))


def _size(feature: Mapping[str, Any], key: str) -> int:
    shape = feature.get("shape")
    if not isinstance(shape, list) or not all(isinstance(side, int) and 0 < side <= MAX_COLUMNS for side in shape):
        raise UserError(f"{INFO}: {key!r} has shape {str(shape)[:100]}; expected sizes from 1 to {MAX_COLUMNS}")
    size = math.prod(shape)
    if size > MAX_COLUMNS:
        raise UserError(f"{INFO}: {key!r} has {size} dimensions; at most {MAX_COLUMNS} are read")
    return size


def _names(feature: Mapping[str, Any], key: str, size: int) -> tuple[str, ...]:
    """One name a dimension; lists may be nested, and dictionaries hold lists or positions."""
    found = _flat(feature.get("names"), depth=0)
    if len(found) == size and len(set(found)) == size:
        return found
    short = key.rsplit(".", 1)[-1]
    return tuple(f"{short}_{index}" for index in range(size)) if size > 1 else (short,)


def _flat(names: Any, depth: int) -> tuple[str, ...]:
    if isinstance(names, str):
        return (clean(names),)
    if depth > 4:
        return ()
    if isinstance(names, dict):
        if names and all(isinstance(place, int) for place in names.values()):  # {"x": 0, "y": 1}
            return tuple(clean(name) for name in sorted(names, key=lambda name: names[name]))
        names = list(names.values())
    if not isinstance(names, list):
        return ()
    return tuple(name for inner in names for name in _flat(inner, depth + 1))


def _cameras(features: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Camera, ...], tuple[str, ...]]:
    keys = [key for key, given in features.items() if given.get("dtype") in ("video", "image")]
    depth = tuple(key for key in keys if _is_depth(features[key]))
    short = {key: clean(key.removeprefix(IMAGES).removeprefix("observation.")) for key in keys}
    unique = len(set(short.values())) == len(short) and all(short.values())
    shown = [key for key in keys if key not in depth]
    if not shown:
        raise UserError(f"{INFO} names no camera; expected a feature of dtype 'video' or 'image'")
    return tuple(Camera(short[key] if unique else key, key, features[key]["dtype"] == "video") for key in shown), depth


def _is_depth(feature: Mapping[str, Any]) -> bool:
    given = feature.get("info") or feature.get("video_info")
    return isinstance(given, dict) and bool(given.get("video.is_depth_map") or given.get("is_depth_map"))
