"""One episode's frames of one camera as an mp4 file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import UInt8

from models.errors import UserError

KEYFRAME_EVERY = 2  # as LeRobot: training reads steps in any order
CODECS = {  # in order of preference: FFmpeg's encoder, the codec's name, options
    "libsvtav1": ("av1", {"crf": "23", "preset": "8"}),
    "libx264": ("h264", {"crf": "15", "preset": "medium", "bf": "0"}),
}
SMALLEST_AV1 = 64  # pixels; the AV1 encoder takes no smaller side


@dataclass(frozen=True)
class VideoKind:
    encoder: str
    codec: str


def video_kind(height: int, width: int) -> VideoKind:
    """The best encoder there is for frames of this size in pixels. Raises UserError if there is none."""
    if height % 2 or width % 2:
        raise UserError(
            f"frames of {height} x {width} pixels do not fit a video, which needs even sides; export images"
        )
    for encoder, (codec, _) in CODECS.items():
        if encoder in av.codecs_available and (codec != "av1" or min(height, width) >= SMALLEST_AV1):
            return VideoKind(encoder, codec)
    raise UserError(f"none of the encoders {', '.join(CODECS)} is available here; export images instead")


def write_video(path: Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float, kind: VideoKind) -> None:
    """Frame k lies at k / fps seconds. A file that is begun and not finished is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(path), "w") as container:
            rate = Fraction(fps).limit_denominator(100_000)
            stream = cast(
                VideoStream, container.add_stream(kind.encoder, rate=rate, options=dict(CODECS[kind.encoder][1]))
            )
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = KEYFRAME_EVERY
            first = True
            for image in frames:
                if first:
                    stream.height, stream.width = image.shape[:2]
                    first = False
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"{path.name} cannot be encoded as {kind.codec}: {error}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
