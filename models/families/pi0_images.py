"""Frames as a π0 policy's vision tower sees them: squares in [-1, 1], never distorted, the rest padded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn import functional

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.lerobot_statistics import Scaling
from models.images import FILES, ImagePreprocessing, SeenImage

Frame = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Letterbox:
    """LeRobot's preparation: bilinear without smoothing, padded with black (resize_with_pad in its published code)."""

    side: int  # pixels of the square
    corner: bool = False  # the frame lies at the lower right, as before v0.4; else in the middle

    def __call__(self, frame: Frame, scaling: Scaling) -> SeenImage:
        """``scaling`` normalises values in [0, 1] first. Raises UserError for anything but an RGB frame of bytes."""
        check_frame(frame)
        height, width = frame.shape[:2]
        ratio = max(width / self.side, height / self.side)
        high, wide = _seen(height, width, int(height / ratio), int(width / ratio))
        values = np.ascontiguousarray(frame.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
        pixels = torch.from_numpy(scaling.normalise(values))[None]
        if (high, wide) != (height, width):
            pixels = functional.interpolate(pixels, size=(high, wide), mode="bilinear", align_corners=False)
        down, across = self.side - high, self.side - wide
        top, left = (down, across) if self.corner else (down // 2, across // 2)
        padded = functional.pad(pixels, (left, across - left, top, down - top))
        box = _box(height / high, width / wide, top, left, self.side)
        return SeenImage((padded[0] * 2.0 - 1.0).numpy(), box)


@dataclass(frozen=True)
class Fitted:
    """transformers' PI0ImageProcessor: bicubic with smoothing, normalised, then padded with 0, right and bottom."""

    side: int
    resample: int = int(Image.Resampling.BICUBIC)
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __call__(self, frame: Frame, scaling: Scaling) -> SeenImage:
        """``scaling`` has no say here. Raises UserError for anything but an RGB frame of bytes."""
        check_frame(frame)
        height, width = frame.shape[:2]
        ratio = min(self.side / height, self.side / width)
        high, wide = _seen(height, width, int(height * ratio), int(width * ratio))
        image = Image.fromarray(frame).resize((wide, high), Image.Resampling(self.resample))
        scaled = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        values = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        padded = np.pad(values.transpose(2, 0, 1), ((0, 0), (0, self.side - high), (0, self.side - wide)))
        return SeenImage(np.ascontiguousarray(padded), _box(height / high, width / wide, 0, 0, self.side))


Preparation = Callable[[Frame, Scaling], SeenImage]


def described(files: CheckpointFiles, side: int) -> Preparation:
    """As the checkpoint's processor files ask; where it has none, as PI0ImageProcessor does by itself.

    Raises UserError for a preparation that is not supported, or that makes images of another size than ``side``.
    """
    for name in FILES:
        file = files.find(name)
        if file is None:
            continue
        section = ConfigSection.read(file)
        section = section.section("image_processor") if section.has("image_processor") else section
        size = section.fields.get("size")
        if isinstance(size, dict) and "max_height" in size:
            return _fitted(section, side)
        if size is not None:
            plain = ImagePreprocessing.read(file.parent)
            return lambda frame, _: plain(frame)
    return Fitted(side)


def check_frame(frame: object) -> None:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(f"an image must be a uint8 array of height x width x 3 (RGB), found {found}")
    if 0 in frame.shape:
        raise UserError(f"the image has no pixels: its shape is {frame.shape}")


def _seen(height: int, width: int, high: int, wide: int) -> tuple[int, int]:
    if 0 in (high, wide):
        raise UserError(f"an image of {height} x {width} pixels is too narrow: nothing is left of it when it is scaled")
    return high, wide


def _fitted(section: ConfigSection, side: int) -> Fitted:
    size, pad = section.section("size"), section.section("pad_size")
    sides = {size.integer("max_height"), size.integer("max_width"), pad.integer("height"), pad.integer("width")}
    flags = [section.flag(name, True) for name in ("do_resize", "do_rescale", "do_normalize", "do_pad")]
    if sides != {side} or not all(flags) or section.flag("do_center_crop", False):
        raise UserError(
            f"{section.where} images are prepared otherwise than π0 does: expected them to be resized and padded to "
            f"{side} x {side}, rescaled and normalised"
        )
    return Fitted(
        side,
        resample=section.integer("resample", default=int(Image.Resampling.BICUBIC), minimum=0),
        scale=section.number("rescale_factor", default=1 / 255),
        mean=section.numbers("image_mean", 3) if section.has("image_mean") else (0.5,) * 3,
        std=section.numbers("image_std", 3) if section.has("image_std") else (0.5,) * 3,
    )


def _box(down: float, across: float, top: int, left: int, side: int) -> tuple[float, float, float, float]:
    """Of the whole square, in pixels of the frame; ``down`` and ``across`` frame pixels are one of the square's."""
    return (-left * across, -top * down, (side - left) * across, (side - top) * down)
