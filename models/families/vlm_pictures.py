"""How vision-language models read a frame: pixels, runs of image tokens with their place on the frame, and markers.

Pixels come from the image processor that each model was made with, in transformers' PIL versions; places on the frame
are worked out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from transformers import PretrainedConfig
from transformers.image_processing_utils import BaseImageProcessor
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.vision_utils import get_vision_window_index

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.chat_prompt import Marker, Piece
from models.families.weights import NO_MODEL
from models.images import ImagePreprocessing, as_image
from models.types import PatchGrid

Processor = TypeVar("Processor", bound=BaseImageProcessor)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TowerSequence:
    """One sequence that the vision tower reads."""

    grid: PatchGrid
    leading: tuple[str, ...] = ()  # special tokens before the patches
    order: Int[np.ndarray, " n"] | None = None  # where the tower keeps each patch of the grid; None: in its order


@dataclass(frozen=True)
class Picture:
    """One camera's frame, as the model reads it."""

    pieces: tuple[Piece, ...]  # what its image token in the prompt becomes
    inputs: Mapping[str, Tensor]  # arguments of the model's get_image_features
    tower: tuple[TowerSequence, ...]  # in the order of the tower's batch


class Pictures(Protocol):
    def __call__(self, camera: str, frame: UInt8[np.ndarray, "H W 3"]) -> Picture:
        """Raises UserError for a frame that the model cannot read."""
        ...


class SquarePictures:
    """One square image, one token a patch (PaliGemma, LLaVA 1.5)."""

    def __init__(self, files: CheckpointFiles, config: PretrainedConfig, image_token: str):
        """Raises UserError where tower and configuration leave no rectangle of patches."""
        vision = config.vision_config
        self._images = ImagePreprocessing.read(files.model)
        self._size, self._patch = int(vision.image_size), int(vision.patch_size)
        self._leading = ("cls",) if vision.model_type == "clip_vision_model" else ()
        strategy = getattr(config, "vision_feature_select_strategy", "full")
        if strategy == "default" and not self._leading:
            raise UserError(
                f"{files.model}: vision_feature_select_strategy is 'default', which drops the first token, but a "
                f"{vision.model_type} has no class token there: a patch would be missing"
            )
        self._before = tuple(Marker(image_token, name) for name in self._leading if strategy != "default")

    def __call__(self, camera: str, frame: UInt8[np.ndarray, "H W 3"]) -> Picture:
        seen = self._images(frame)
        if seen.pixels.shape[1:] != (self._size, self._size):
            _, height, width = seen.pixels.shape
            raise UserError(
                f"preprocessing makes images of {height} x {width} pixels, the vision tower takes {self._size} x "
                f"{self._size}"
            )
        grid = seen.grid(camera, self._patch)
        pixels = torch.from_numpy(seen.pixels)[None]
        return Picture((*self._before, grid), {"pixel_values": pixels}, (TowerSequence(grid, self._leading),))


class DynamicPictures:
    """An image of any size in patches that are merged in squares (Qwen2-VL, Qwen2.5-VL)."""

    def __init__(self, files: CheckpointFiles, config: PretrainedConfig, image_token: str):
        self._processor = image_processor(Qwen2VLImageProcessorPil, files)
        vision = config.vision_config
        found, expected = (
            (each.patch_size, each.temporal_patch_size, merge)
            for each, merge in ((self._processor, self._processor.merge_size), (vision, vision.spatial_merge_size))
        )
        if found != expected:
            raise UserError(
                f"{files.model}: patches, frames and merged squares are {found} for the image processor, {expected} "
                "for the model"
            )
        self._merge, self._patch = int(vision.spatial_merge_size), int(vision.patch_size)
        self._window = int(vision.window_size) if config.model_type == "qwen2_5_vl" else None

    def __call__(self, camera: str, frame: UInt8[np.ndarray, "H W 3"]) -> Picture:
        made = prepared(self._processor, frame)
        _, rows, columns = (int(count) for count in made["image_grid_thw"][0])
        height, width, _ = frame.shape
        box: Box = (0.0, 0.0, float(width), float(height))
        grid = PatchGrid(camera, rows // self._merge, columns // self._merge, box)
        inputs = {"pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"]}
        order = _square_order(rows, columns, self._merge)
        if self._window is not None:
            order = self._window_order(order, made["image_grid_thw"], self._window)
        return Picture((grid,), inputs, (TowerSequence(PatchGrid(camera, rows, columns, box), order=order),))

    def _window_order(self, squares: Int[np.ndarray, " n"], grid: Tensor, window: int) -> Int[np.ndarray, " n"]:
        """The same where the tower keeps squares window by window."""
        of_places, _ = get_vision_window_index(grid, self._merge, window, self._patch)
        places, size = np.argsort(of_places.numpy()), self._merge**2
        return places[squares // size] * size + squares % size


class TilePictures:
    """An image cut into square tiles, and the whole of it once more, small (Idefics3, SmolVLM)."""

    def __init__(self, files: CheckpointFiles, config: PretrainedConfig, image_token: str):
        kinds = {"idefics3": Idefics3ImageProcessorPil, "smolvlm": SmolVLMImageProcessorPil}
        self._processor = image_processor(kinds[config.model_type], files)
        self._patch, self._merge = int(config.vision_config.patch_size), int(config.scale_factor)

    def __call__(self, camera: str, frame: UInt8[np.ndarray, "H W 3"]) -> Picture:
        made = prepared(self._processor, frame, return_row_col_info=True)
        rows, columns = int(made["rows"][0][0]), int(made["cols"][0][0])
        size = int(made["pixel_values"].shape[-1])
        side = size // self._patch
        boxes = [_part(box, side * self._patch / size) for box in _tiles(frame, rows, columns)]
        tower = tuple(TowerSequence(PatchGrid(camera, side, side, box)) for box in boxes)
        side //= self._merge
        grids = [PatchGrid(camera, side, side, box) for box in boxes]
        inputs = {name: made[name] for name in ("pixel_values", "pixel_attention_mask") if name in made}
        return Picture(_tile_pieces(grids, rows, columns), inputs, tower)


def _tiles(frame: UInt8[np.ndarray, "H W 3"], rows: int, columns: int) -> list[Box]:
    """Boxes of the tiles on the frame, row by row, then that of the whole."""
    height, width, _ = frame.shape
    cut = [
        (column * width / columns, row * height / rows, (column + 1) * width / columns, (row + 1) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]
    return [*cut, (0.0, 0.0, float(width), float(height))]


def _part(box: Box, share: float) -> Box:
    """The upper left of a box that whole patches cover."""
    left, top, right, bottom = box
    return (left, top, left + (right - left) * share, top + (bottom - top) * share)


def _tile_pieces(grids: list[PatchGrid], rows: int, columns: int) -> tuple[Piece, ...]:
    """The tiles with their names around them, as Idefics3 was trained."""
    around, pieces = "<fake_token_around_image>", list[Piece]()
    for row in range(rows):
        for column in range(columns):
            name = f"<row_{row + 1}_col_{column + 1}>"
            pieces += [Marker(around, around), Marker(name, name), grids[row * columns + column]]
        pieces.append(Marker("\n", "tile row ends"))
    pieces += [Marker("\n", "tiles end")] if rows else []
    whole = "<global-img>"
    return (*pieces, Marker(around, around), Marker(whole, whole), grids[-1], Marker(around, around))


def _square_order(rows: int, columns: int, merge: int) -> Int[np.ndarray, " n"]:
    """The tower keeps patches square by square; where it keeps those of the grid, row by row."""
    places = np.arange(rows * columns).reshape(rows // merge, columns // merge, merge, merge)
    return places.transpose(0, 2, 1, 3).reshape(-1)


def image_processor(kind: type[Processor], files: CheckpointFiles) -> Processor:
    """Raises UserError where the checkpoint's description of it cannot be read."""
    try:
        made = kind.from_pretrained(files.model, local_files_only=True)
    except (OSError, *NO_MODEL) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{files.model} does not say how images are prepared ({reason})") from error
    return made


def prepared(processor: BaseImageProcessor, frame: UInt8[np.ndarray, "H W 3"], **asked: bool) -> Mapping[str, Any]:
    """What ``processor`` makes of a frame. Raises UserError for one that it cannot take."""
    image = as_image(frame)
    try:
        made: Mapping[str, Any] = processor(image, return_tensors="pt", **asked)
    except (MemoryError, *NO_MODEL) as error:
        found = f"{image.size[1]} x {image.size[0]} pixels"
        raise UserError(f"the image of {found} cannot be prepared ({error})") from error
    return made
