"""Frames that are stored as bare pixels, encoded for the browser."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

MAX_FRAME_BYTES = 200_000_000  # of one frame, raw or encoded


def as_png(picture: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Lossless, and compressed lightly: it is made anew each time that the frame is shown."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(out, "PNG", compress_level=1)
    return out.getvalue()
