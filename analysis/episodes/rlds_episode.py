"""An opened RLDS episode: numbers in memory, frames read from the shard one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

from analysis.episodes.encoded_image import decode, header
from analysis.episodes.tfrecord import Stamp, opened, stamp
from analysis.types import EpisodeMeta, Step
from models.errors import UserError
from models.types import Observation, Rationale

MAX_FRAME_BYTES = 64 << 20


@dataclass(frozen=True)
class RldsEpisode:
    """One record. Its file is opened anew for every frame, so that no handle outlives its use."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # units: meta.action_units
    states: Float[np.ndarray, "T S"] | None  # units: meta.state_units
    rationales: tuple[Rationale, ...]
    frames: Mapping[str, Int64[np.ndarray, "T 2"]]  # camera -> first byte of each frame in the file, and the one after
    stamp: Stamp  # of the file when the episode was opened
    instructions: tuple[str, ...] = ()  # one a step where they differ

    def step(self, index: int) -> Step:
        """The moment ``index``, with its frames decoded. Raises UserError for an undecodable image."""
        self._check_index(index)
        images = {camera: self.frame(camera, index) for camera in self.meta.cameras}
        state = None if self.states is None else self.states[index]
        said = self.instructions[index] if self.instructions else self.meta.instruction
        observation = Observation(images=images, instruction=said, state=state)
        return Step(index=index, time=index / self.meta.fps, observation=observation, action=self.actions[index])

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One camera's frame, decoded. Raises UserError for an unknown camera or an undecodable image."""
        return decode(self._encoded(camera, index), self._where(camera, index))

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """The bytes as stored and their media type; only the image's header is looked at."""
        data = self._encoded(camera, index)
        found = header(data)
        if found is None:
            raise UserError(
                f"{self._where(camera, index)} cannot be decoded: its {len(data):,} bytes are no JPEG or PNG image"
            )
        return data, f"image/{found[0]}"

    def _encoded(self, camera: str, index: int) -> bytes:
        self._check_index(index)
        if camera not in self.frames:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.meta.cameras)}"
            )
        start, stop = (int(position) for position in self.frames[camera][index])
        if stop - start > MAX_FRAME_BYTES:
            raise UserError(
                f"{self._where(camera, index)} has {stop - start:,} bytes; at most {MAX_FRAME_BYTES:,} are read"
            )
        path = Path(self.meta.source)
        if stamp(path) != self.stamp:
            raise UserError(f"{path.name} was changed after the episode was opened; open the episode again")
        with opened(path) as file:
            return file.pread(stop - start, start)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.meta.length:
            raise UserError(
                f"episode {self.meta.id!r} has steps 0 to {self.meta.length - 1}; step {index} was asked for"
            )

    def _where(self, camera: str, index: int) -> str:
        return f"frame {index} of camera {camera!r} in episode {self.meta.id!r} of {Path(self.meta.source).name}"
