"""An episode out of a foreign HDF5 file: numbers in memory, frames read one by one when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.encoded_image import decode, header
from analysis.episodes.hdf5_file import stamp
from analysis.episodes.hdf5_guard import WHOLE, Part
from analysis.episodes.hdf5_plain import plain, reading_foreign
from analysis.episodes.raw_frame import MAX_FRAME_BYTES, as_png
from analysis.types import EpisodeMeta, Step
from models.errors import UserError
from models.types import Observation, Rationale


@dataclass(frozen=True)
class Hdf5Trajectory:
    """Frames are opened anew for every use, so that no handle outlives it."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # units: meta.action_units
    states: Float[np.ndarray, "T S"] | None  # units: meta.state_units
    frames: Mapping[str, str]  # camera -> its dataset in the file
    upside_down: bool  # as stored; what is handed out is upright
    stamp: tuple[int, int]  # size in bytes and modification time in ns when the file was opened
    rationales: tuple[Rationale, ...] = ()
    part: Part = WHOLE  # of the file, which is tried before it is read

    def step(self, index: int) -> Step:
        """The moment ``index`` with its frames decoded. Raises UserError for an undecodable image."""
        self._check_index(index)
        images = {camera: self.frame(camera, index) for camera in self.meta.cameras}
        state = None if self.states is None else self.states[index]
        return Step(
            index=index,
            time=index / self.meta.fps,
            observation=Observation(images=images, instruction=self.meta.instruction, state=state),
            action=self.actions[index],
        )

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One camera's frame, upright. Raises UserError for an unknown camera or an undecodable image."""
        stored = self._stored(camera, index)
        picture = decode(stored, self._where(camera, index)) if isinstance(stored, bytes) else stored
        return np.ascontiguousarray(picture[::-1]) if self.upside_down else picture

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """JPEG and PNG as stored; a raw frame, or one that is stored upside down, as PNG. And the media type."""
        stored = self._stored(camera, index)
        if self.upside_down or not isinstance(stored, bytes):
            return as_png(self.frame(camera, index)), "image/png"
        found = header(stored)
        if found is None:
            raise UserError(
                f"{self._where(camera, index)} cannot be decoded: its {len(stored):,} bytes are no JPEG or PNG"
            )
        return stored, f"image/{found[0]}"

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.meta.length:
            raise UserError(
                f"episode {self.meta.id!r} has steps 0 to {self.meta.length - 1}; step {index} was asked for"
            )

    def _where(self, camera: str, index: int) -> str:
        return f"frame {index} of camera {camera!r} in {Path(self.meta.source).name}"

    def _stored(self, camera: str, index: int) -> bytes | UInt8[np.ndarray, "H W 3"]:
        self._check_index(index)
        if camera not in self.frames:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.meta.cameras)}"
            )
        path = Path(self.meta.source)
        if not path.exists() or stamp(path) != self.stamp:
            raise UserError(f"{path.name} was changed or removed after it was opened; open the episode again")
        with reading_foreign(path, self.part) as file:
            data = plain(file, self.frames[camera], path.name)
            check_frames(data, path.name)
            raw = data.ndim == 4
            row = data[index]
        if raw:
            return row
        encoded = row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()
        return encoded.rstrip(b"\0")  # padding; neither a JPEG nor a PNG ends in a zero


def check_frames(data: h5py.Dataset, where: str) -> None:
    """Raises UserError unless these are frames: raw [T, H, W, 3], padded bytes [T, N], or [T] byte strings."""
    is_bytes = h5py.check_vlen_dtype(data.dtype) == np.uint8 or data.dtype.kind == "S" or _is_text(data.dtype)
    raw = data.ndim == 4 and data.shape[3] == 3 and data.dtype == np.uint8
    padded = data.ndim == 2 and data.dtype == np.uint8
    if not (raw or padded or (data.ndim == 1 and is_bytes)):
        raise UserError(
            f"{data.name} in {where} is {data.dtype} {list(data.shape)}; expected frames: uint8 [steps, height, width, "
            "3], or one encoded image a step"
        )
    if math.prod(data.shape[1:]) * data.dtype.itemsize > MAX_FRAME_BYTES:
        raise UserError(f"{data.name} in {where} claims frames of {list(data.shape[1:])}; that is implausibly large")
    if raw and 0 in data.shape[1:]:
        raise UserError(f"{data.name} in {where} has frames of {list(data.shape[1:])}: they are empty")


def _is_text(kind: np.dtype) -> bool:
    return h5py.check_string_dtype(kind) is not None


def sample(data: h5py.Dataset) -> bytes:
    """One row of pixels, or one encoded image, from the middle: tells recordings apart that have the same numbers."""
    middle = len(data) // 2
    found = data[middle, data.shape[1] // 2] if data.ndim == 4 else data[middle]
    return bytes(found) if isinstance(found, bytes) else np.asarray(found, np.uint8).tobytes()
