"""Image preprocessing as preprocessor_config.json asks, with PIL alone, and the way back to the original frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from models.config_section import ConfigSection
from models.errors import UserError
from models.types import PatchGrid

FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class SeenImage:
    """What a vision tower sees of a frame."""

    pixels: Float[np.ndarray, "3 h w"]
    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the original frame; may exceed it

    def grid(self, camera: str, patch: int) -> PatchGrid:
        """Patches of ``patch`` x ``patch`` seen pixels; a rest that fills no patch is not part of the grid."""
        _, height, width = self.pixels.shape
        rows, columns = height // patch, width // patch
        left, top, right, bottom = self.box
        right = left + (right - left) * columns * patch / width
        bottom = top + (bottom - top) * rows * patch / height
        return PatchGrid(camera, rows, columns, (left, top, right, bottom))


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize, center crop, rescale, normalise: in this order, each step optional."""

    height: int | None  # both: resize to exactly this; neither: see shortest_edge
    width: int | None
    shortest_edge: int | None
    resample: int  # PIL's numbers
    crop: tuple[int, int] | None  # height, width
    scale: float  # pixels are multiplied by it
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def read(folder: Path) -> ImagePreprocessing:
        """From preprocessor_config.json, or from processor_config.json where transformers 5 wrote it."""
        for name in FILES:
            if (folder / name).is_file():
                section = ConfigSection.read(folder / name)
                section = section.section("image_processor") if section.has("image_processor") else section
                if section.has("size"):
                    return _from_section(section)
        raise UserError(f"{folder} does not say how images are prepared: none of {' or '.join(FILES)} has a size")

    def __call__(self, frame: UInt8[np.ndarray, "H W 3"]) -> SeenImage:
        """The frame as the vision tower sees it. Raises UserError for anything but an RGB frame of bytes."""
        image = as_image(frame)
        full_width, full_height = image.size
        width, height = self._resized_size(full_width, full_height)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling(self.resample))
        left, top, right, bottom = 0, 0, width, height
        if self.crop is not None:
            left, top = (width - self.crop[1]) // 2, (height - self.crop[0]) // 2
            right, bottom = left + self.crop[1], top + self.crop[0]
            image = image.crop((left, top, right, bottom))
        across, down = full_width / width, full_height / height
        box = (left * across, top * down, right * across, bottom * down)
        return SeenImage(self._values(np.asarray(image, dtype=np.float32)), box)

    def _values(self, bytes_: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "3 h w"]:
        scaled = bytes_ * np.float32(self.scale)
        normalised: np.ndarray = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        if self.width is not None and self.height is not None:
            return self.width, self.height
        if self.shortest_edge is None:
            return width, height
        short, long = sorted((width, height))
        other = int(self.shortest_edge * long / short)
        return (self.shortest_edge, other) if width <= height else (other, self.shortest_edge)


def _from_section(section: ConfigSection) -> ImagePreprocessing:
    if section.flag("do_pad", False):
        raise UserError(
            f"{section.where} do_pad is true; only resize, center crop, rescale and normalise are supported"
        )
    height = width = shortest = None
    if section.flag("do_resize", True):
        height, width, shortest = _size(section, "size")
    crop_height, crop_width, edge = (
        _size(section, "crop_size") if section.flag("do_center_crop", False) else (None,) * 3
    )
    if edge is not None:
        raise UserError(f"{section.where} crop_size has a shortest_edge; expected height and width")
    resample = section.integer("resample", default=3, minimum=0)
    if resample > max(Image.Resampling):
        raise UserError(f"{section.where} resample is {resample}, expected one of PIL's numbers 0 to 5")
    normalise = section.flag("do_normalize", True)
    return ImagePreprocessing(
        height=height,
        width=width,
        shortest_edge=shortest,
        resample=resample,
        crop=(crop_height, crop_width) if crop_height is not None and crop_width is not None else None,
        scale=section.number("rescale_factor", default=1 / 255) if section.flag("do_rescale", True) else 1.0,
        mean=section.numbers("image_mean", 3) if normalise else (0.0,) * 3,
        std=section.numbers("image_std", 3) if normalise else (1.0,) * 3,
    )


def _size(section: ConfigSection, key: str) -> tuple[int | None, int | None, int | None]:
    """Height, width and shortest edge that ``key`` asks for; a bare number is a square."""
    if isinstance(section.fields.get(key), int):
        edge = section.integer(key)
        return edge, edge, None
    size = section.section(key)
    if size.has("shortest_edge") and not size.has("longest_edge"):
        return None, None, size.integer("shortest_edge")
    return size.integer("height"), size.integer("width"), None


def as_image(frame: Any) -> Image.Image:
    """Raises UserError for anything but an RGB frame of bytes."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(f"an image must be a uint8 array of height x width x 3 (RGB), found {found}")
    if 0 in frame.shape:
        raise UserError(f"the image has no pixels: its shape is {frame.shape}")
    return Image.fromarray(frame)
