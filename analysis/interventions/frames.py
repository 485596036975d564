"""The images that a policy saw before and after a change."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from analysis.pictures.chart import Chart, columns_of
from analysis.pictures.provenance import Provenance
from analysis.pictures.shapes import Drawing, Picture, Text, beside, stacked
from models.types import Observation

WIDTH, TITLE = 300, 22  # pixels of a drawn frame, of the line above it


@dataclass(frozen=True)
class ChangedFrame:
    camera: str
    before: UInt8[np.ndarray, "h w 3"]
    after: UInt8[np.ndarray, "h w 3"]

    @property
    def share(self) -> float:
        """Of the pixels, how many are others than before: 0 to 1."""
        return float((self.before != self.after).any(axis=-1).mean())


def changed_frames(before: Observation, after: Observation) -> tuple[ChangedFrame, ...]:
    """Of the cameras whose pictures a change has touched."""
    return tuple(
        ChangedFrame(camera, image, after.images[camera])
        for camera, image in before.images.items()
        if not np.array_equal(image, after.images[camera])
    )


def frames_drawing(frames: Sequence[ChangedFrame]) -> Drawing:
    """A line a camera: before, after."""
    return stacked(*(beside(_titled(each, "before"), _titled(each, "after")) for each in frames))


def frames_chart(frames: Sequence[ChangedFrame], provenance: Provenance) -> Chart:
    """``frames``: at least one. The NPZ holds their pixels."""
    rows = [
        {
            "camera": each.camera,
            "width": each.after.shape[1],
            "height": each.after.shape[0],
            "pixels changed": each.share,
        }
        for each in frames
    ]
    return Chart(provenance, columns_of(rows), frames_drawing(frames), frame_arrays(frames))


def frame_arrays(frames: Sequence[ChangedFrame], where: str = "") -> dict[str, np.ndarray]:
    """Pixels by "<camera> before" and "<camera> after", and what ``where`` adds."""
    return {f"{each.camera} {when}{where}": getattr(each, when) for each in frames for when in ("before", "after")}


def _titled(frame: ChangedFrame, when: str) -> Drawing:
    image = frame.before if when == "before" else frame.after
    height = round(WIDTH * image.shape[0] / image.shape[1])
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    words = f"{frame.camera}, {when}"
    return Drawing(
        WIDTH,
        TITLE + height,
        (Text(0, 15, words, 12, "quiet"), Picture(0, TITLE, WIDTH, height, file.getvalue())),
        words,
    )
