"""Images as Prismatic's processor prepares them (preprocessor_config.json of OpenVLA), with PIL alone.

Letterbox or not, then per tower: resize, center crop, to [0, 1], normalise; as torchvision does it on PIL images. The
file's ``tvf_*`` entries say what is done; where an older file lacks them they follow from ``image_resize_strategy``,
``input_sizes``, ``interpolations``, ``means`` and ``stds``, as the original makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError
from models.images import SeenImage

FILE = "preprocessor_config.json"
STRATEGIES = ("resize-naive", "resize-crop", "letterbox")
INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}  # PIL's numbers

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the original frame


@dataclass(frozen=True)
class TowerTransform:
    """What one tower's copy of the image goes through."""

    size: tuple[int, int] | int  # height, width; or of the shorter edge
    resample: int  # PIL's numbers
    crop: tuple[int, int]  # height, width
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image, box: Box) -> SeenImage:
        """``box``: what ``image`` covers of the original frame."""
        width, height = self._resized(*image.size)
        resized = image.resize((width, height), Image.Resampling(self.resample))
        # torchvision's center_crop; round() takes halves to the even number there, too
        top, left = round((height - self.crop[0]) / 2), round((width - self.crop[1]) / 2)
        bottom, right = top + self.crop[0], left + self.crop[1]
        across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height
        seen = (box[0] + left * across, box[1] + top * down, box[0] + right * across, box[1] + bottom * down)
        return SeenImage(self._values(resized.crop((left, top, right, bottom))), seen)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size[1], self.size[0]
        short, long = sorted((width, height))
        other = int(self.size * long / short)
        return (self.size, other) if width <= height else (other, self.size)

    def _values(self, image: Image.Image) -> Float[np.ndarray, "3 h w"]:
        scaled = np.asarray(image, dtype=np.float32) / np.float32(255)
        normalised: np.ndarray = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))


@dataclass(frozen=True)
class PrismaticImages:
    """One copy of the image for each tower."""

    towers: tuple[TowerTransform, ...]
    fill: tuple[int, ...] | None  # colour of the letterbox's border; None: no letterbox

    @staticmethod
    def read(files: CheckpointFiles) -> PrismaticImages:
        """Raises UserError where preprocessor_config.json is missing or makes no sense."""
        file = files.find(FILE)
        if file is None:
            raise UserError(f"{files.folder} has no {FILE}, which says how images are prepared")
        return _read(ConfigSection.read(file))

    def __call__(self, frame: UInt8[np.ndarray, "H W 3"]) -> tuple[SeenImage, ...]:
        """What each tower sees. Raises UserError for anything but an RGB frame of bytes."""
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise UserError(f"an image must be a uint8 array of height x width x 3 (RGB), found {found}")
        if 0 in frame.shape:
            raise UserError(f"the image has no pixels: its shape is {frame.shape}")
        image, box = self._letterboxed(Image.fromarray(frame))
        return tuple(tower(image, box) for tower in self.towers)

    def _letterboxed(self, image: Image.Image) -> tuple[Image.Image, Box]:
        width, height = image.size
        if self.fill is None:
            return image, (0, 0, width, height)
        across, down = (max(image.size) - width) // 2, (max(image.size) - height) // 2
        padded = ImageOps.expand(image, (across, down, across, down), fill=self.fill)
        return padded, (-across, -down, width + across, height + down)


def _read(section: ConfigSection) -> PrismaticImages:
    sizes = section.fields.get("input_sizes") or section.fields.get("tvf_resize_params") or []
    count = len(sizes) if isinstance(sizes, list) else 0
    if count not in (1, 2):
        raise UserError(f"{section.where} input_sizes has {count} entries, expected one for each of 1 or 2 towers")
    strategy = section.text("image_resize_strategy", default="")
    if strategy and strategy not in STRATEGIES:
        raise UserError(
            f"{section.where} image_resize_strategy is {strategy!r}, expected one of {', '.join(STRATEGIES)}"
        )
    if all(section.has(key) for key in ("tvf_resize_params", "tvf_crop_params", "tvf_normalize_params")):
        towers = tuple(_stated(section, index) for index in range(count))
        letterbox = section.flag("tvf_do_letterbox", False)
    else:
        towers = tuple(_derived(section, strategy, index) for index in range(count))
        letterbox = strategy == "letterbox"
    return PrismaticImages(towers, _fill(section, towers[-1]) if letterbox else None)


def _stated(section: ConfigSection, index: int) -> TowerTransform:
    resize = _entry(section, "tvf_resize_params", index)
    crop = _entry(section, "tvf_crop_params", index)
    normalise = _entry(section, "tvf_normalize_params", index)
    resample = resize.integer("interpolation", default=3, minimum=0)
    if resample not in INTERPOLATIONS.values():
        raise UserError(f"{resize.where}.interpolation is {resample}, expected one of PIL's numbers 0 to 5")
    cropped = _size(crop, "output_size")
    return TowerTransform(
        size=_size(resize, "size"),
        resample=resample,
        crop=(cropped, cropped) if isinstance(cropped, int) else cropped,
        mean=normalise.numbers("mean", 3),
        std=_deviations(normalise, "std"),
    )


def _derived(section: ConfigSection, strategy: str, index: int) -> TowerTransform:
    if not strategy:
        raise UserError(
            f"{section.where} image_resize_strategy is missing, expected one of {', '.join(STRATEGIES)}; there are no "
            "tvf_resize_params either"
        )
    _, height, width = _item(section, "input_sizes", index).numbers("input_sizes", 3)
    name = str(_item(section, "interpolations", index).fields["interpolations"])
    if name not in INTERPOLATIONS:
        raise UserError(f"{section.where} interpolations has {name!r}, expected one of {', '.join(INTERPOLATIONS)}")
    crop = (int(height), int(width))
    return TowerTransform(
        size=crop if strategy == "resize-naive" else crop[1],
        resample=INTERPOLATIONS[name],
        crop=crop,
        mean=_item(section, "means", index).numbers("means", 3),
        std=_deviations(_item(section, "stds", index), "stds"),
    )


def _fill(section: ConfigSection, last: TowerTransform) -> tuple[int, ...]:
    """The border's colour: stated, or the mean of the last tower, which is what the original ends up with."""
    if section.has("tvf_letterbox_fill"):
        return tuple(int(value) for value in section.numbers("tvf_letterbox_fill", 3))
    return tuple(int(value * 255) for value in last.mean)


def _deviations(section: ConfigSection, key: str) -> tuple[float, ...]:
    values = section.numbers(key, 3)
    if not all(value > 0 for value in values):
        raise UserError(f"{section.where} {key} is {list(values)}, expected numbers above zero")
    return values


def _size(section: ConfigSection, key: str) -> tuple[int, int] | int:
    """One whole number, or height and width."""
    value = section.fields.get(key)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) and each > 0 for each in value):
        return value[0], value[1]
    raise UserError(f"{section.where}.{key} is {value!r}, expected a whole number or height and width")


def _entry(section: ConfigSection, key: str, index: int) -> ConfigSection:
    """Element ``index`` of a list of objects."""
    value = _element(section, key, index)
    if not isinstance(value, dict):
        raise UserError(f"{section.where} {key}[{index}] is {value!r}, expected an object")
    return ConfigSection(f"{section.where} {key}[{index}]", value)


def _item(section: ConfigSection, key: str, index: int) -> ConfigSection:
    """Element ``index`` of a list of lists, as a section with that one field."""
    return ConfigSection(section.where, {key: _element(section, key, index)})


def _element(section: ConfigSection, key: str, index: int) -> Any:
    values = section.fields.get(key)
    if not isinstance(values, list) or len(values) <= index:
        raise UserError(f"{section.where} {key} is {values!r}, expected a list with one entry for each tower")
    return values[index]
