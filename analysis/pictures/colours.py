"""The player's colour maps (app/components/player/colormaps.js has the same stops; a test compares the two)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, UInt8

STOPS: Mapping[str, str] = MappingProxyType(  # matplotlib's, evenly spaced; difference: ColorBrewer's PuOr turned
    {
        "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
        "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
        "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
        "inferno": "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
        "difference": "2d004b 542788 8073ac b2abd2 d8daeb f7f7f7 fee0b6 fdb863 e08214 b35806 7f3b08",
    }
)
SEQUENTIAL = tuple(name for name in STOPS if name != "difference")


def coloured(name: str, places: Float[np.ndarray, "*grid"], opaque: bool = False) -> UInt8[np.ndarray, "*grid 4"]:
    """RGBA of ``places`` in [0, 1]. What is near zero lets the frame through, unless it is to be ``opaque``."""
    stops = np.array([[int(text[at : at + 2], 16) for at in (0, 2, 4)] for text in STOPS[name].split()], float)
    clipped = np.clip(np.nan_to_num(places), 0.0, 1.0)
    at = clipped * (len(stops) - 1)
    low = np.minimum(at.astype(int), len(stops) - 2)
    rgb = stops[low] + (stops[low + 1] - stops[low]) * (at - low)[..., None]
    if opaque:
        alpha = np.ones_like(clipped)
    elif name == "difference":
        alpha = np.minimum(1.0, 0.1 + 2.2 * np.abs(clipped - 0.5))
    else:
        alpha = clipped**0.6
    return np.round(np.concatenate([rgb, 255 * alpha[..., None]], axis=-1)).astype(np.uint8)


def places(values: Float[np.ndarray, "*grid"], full: float, signed: bool) -> Float[np.ndarray, "*grid"]:
    """Where values stand on a colour map whose end is ``full``, and whose middle is zero if they are signed."""
    unit = full if full > 0 else 1.0
    scaled = np.asarray(values, float) / unit
    return 0.5 + scaled / 2 if signed else scaled


def enlarged(values: Float[np.ndarray, "R C"], rows: int, columns: int, smooth: bool) -> Float[np.ndarray, "r c"]:
    """Values at the pixels of a picture, between patch centres if ``smooth``, before they are coloured."""

    def along(count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, count - 1), at - low

    if not smooth:
        across = np.minimum(np.arange(rows) * values.shape[0] // rows, values.shape[0] - 1)
        down = np.minimum(np.arange(columns) * values.shape[1] // columns, values.shape[1] - 1)
        return np.asarray(values, float)[np.ix_(across, down)]
    top, below, v = along(values.shape[0], rows)
    left, right, u = along(values.shape[1], columns)
    upper = values[top][:, left] * (1 - u) + values[top][:, right] * u
    lower = values[below][:, left] * (1 - u) + values[below][:, right] * u
    return np.asarray(upper * (1 - v)[:, None] + lower * v[:, None], float)
