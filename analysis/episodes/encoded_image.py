"""Picture bytes out of files that may be damaged or hostile: only the formats that are named are ever tried."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from models.errors import UserError

FORMATS = ("JPEG", "PNG")  # as Pillow calls them
UNDECODABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # all that Pillow raises for bad bytes


def header(encoded: bytes, formats: Sequence[str] = FORMATS) -> tuple[str, int, int] | None:
    """Encoding ("jpeg", "png"), width and height in pixels, or None if the bytes are none of these. Decodes nothing."""
    try:
        with Image.open(io.BytesIO(encoded), formats=tuple(formats)) as image:
            return (image.format or "").lower(), image.width, image.height
    except UNDECODABLE:
        return None


def decode(encoded: bytes, where: str, formats: Sequence[str] = FORMATS) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in RGB. Raises UserError, beginning with the phrase ``where``, if it cannot be decoded."""
    return _decode(encoded, where, "RGB", formats)


def decode_labels(encoded: bytes, where: str) -> UInt8[np.ndarray, "H W"]:
    """A one-channel label image, values as stored. Raises UserError as `decode` does."""
    return _decode(encoded, where, "L", FORMATS)


def _decode(encoded: bytes, where: str, mode: str, formats: Sequence[str]) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(encoded), formats=tuple(formats)) as image:
            return np.asarray(image.convert(mode))
    except UNDECODABLE as error:
        raise UserError(f"{where} cannot be decoded: {error}") from None
