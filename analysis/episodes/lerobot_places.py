"""Where a LeRobot episode's frames are: in a video file by their time, or in the parquet file by their row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.encoded_image import decode, header
from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.lerobot_paths import present, stamp
from analysis.episodes.lerobot_rows import IMAGES, RowGroup, read_images
from analysis.episodes.video import video_frame, video_jpeg, video_span
from models.errors import UserError

KEPT_RUNS = 16  # of 8 stored images each
MAX_IMAGE_BYTES = 256 << 20


@dataclass(frozen=True)
class VideoPlace:
    """Frames of one camera in a video file."""

    camera: str
    id: str
    path: Path
    stamp: tuple[int, int]
    times: Float[np.ndarray, " T"]  # seconds in the file
    fps: float

    def image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        return video_frame(self.path, float(self.times[index]), self.fps, self._where(index))

    def encoded(self, index: int) -> tuple[bytes, str]:
        return video_jpeg(self.path, float(self.times[index]), self.fps, self._where(index)), "image/jpeg"

    def check(self) -> None:
        """Raises UserError if the video ends before the episode does; the first frame is decoded as a trial."""
        stop, last = video_span(self.path).stop, float(self.times[-1])
        if stop < last - 0.5 / self.fps:
            raise UserError(
                f"the video {self.path.name} of camera {self.camera!r} ends at {stop:.3f} s; {self.id} needs it to "
                f"{last:.3f} s"
            )
        self.image(0)

    def _where(self, index: int) -> str:
        _unchanged(self.path, self.stamp)
        return f"frame {index} of camera {self.camera!r} in {self.id}"


@dataclass(frozen=True)
class ImagePlace:
    """Images of one camera in the parquet file, passed on as stored."""

    camera: str
    id: str
    root: Path
    path: Path
    stamp: tuple[int, int]
    groups: tuple[RowGroup, ...]  # of the file
    column: str
    first: int  # row of the episode's first step

    def image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        data, _ = self.encoded(index)
        return decode(data, self._where(index))

    def encoded(self, index: int) -> tuple[bytes, str]:
        _unchanged(self.path, self.stamp)
        row = self.first + index
        images = _image_run(self.path, self.stamp, self.groups, self.column, row - row % IMAGES)
        data = self._bytes(images[row % IMAGES] if row % IMAGES < len(images) else self._alone(row), index)
        found = header(data)
        if found is None:
            raise UserError(f"{self._where(index)} cannot be decoded: its {len(data):,} bytes are no JPEG or PNG")
        return data, f"image/{found[0]}"

    def check(self) -> None:
        self.encoded(0)

    def _alone(self, row: int) -> Any:
        """An image behind a row group's end, at which a run stops."""
        return _image_run(self.path, self.stamp, self.groups, self.column, row)[0]

    def _bytes(self, stored: Any, index: int) -> bytes:
        if isinstance(stored, dict):
            if isinstance(stored.get("bytes"), bytes):
                return bytes(stored["bytes"])
            if isinstance(stored.get("path"), str):
                beside = present(self.root, stored["path"])
                if beside.stat().st_size > MAX_IMAGE_BYTES:
                    raise UserError(
                        f"{self._where(index)} is a file of {beside.stat().st_size:,} bytes; no image is so large"
                    )
                return read_bytes(beside)
        if isinstance(stored, bytes):
            return stored
        raise UserError(f"{self._where(index)} is missing: its entry in {self.path.name} has no bytes")

    def _where(self, index: int) -> str:
        return f"frame {index} of camera {self.camera!r} in {self.id}"


@lru_cache(maxsize=KEPT_RUNS)
def _image_run(path: Path, stamp: tuple[int, int], groups: tuple[RowGroup, ...], column: str, row: int) -> list[Any]:
    return read_images(path, groups, column, row)


def _unchanged(path: Path, before: tuple[int, int]) -> None:
    if stamp(path) != before:
        raise UserError(f"{path.name} was changed after it was opened; open the episode again")
