"""How LLaVA-NeXT reads a frame: the whole of it small, then in tiles as large as one of a list of canvases allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8
from transformers import PretrainedConfig
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.chat_prompt import Marker, Piece
from models.families.vlm_pictures import Box, Picture, TowerSequence, image_processor, prepared
from models.types import PatchGrid


class AnyResolutionPictures:
    """The frame is resized onto a canvas and padded; tokens of tiles that are only padding are left out, and every row
    of the rest ends in a token of its own."""

    def __init__(self, files: CheckpointFiles, config: PretrainedConfig, image_token: str):
        self._processor = image_processor(LlavaNextImageProcessorPil, files)
        vision = config.vision_config
        self._canvases = config.image_grid_pinpoints
        sizes, others = (_sizes(each.image_grid_pinpoints) for each in (config, self._processor))
        if sizes is None or sizes != others:
            raise UserError(f"{files.model}: image_grid_pinpoints of the image processor are not those of config.json")
        self._tile, self._patch, self._token = int(vision.image_size), int(vision.patch_size), image_token
        if self._tile % self._patch:
            raise UserError(f"{files.model}: tiles of {self._tile} pixels are not filled by patches of {self._patch}")
        self._leading = ("cls",) if vision.model_type == "clip_vision_model" else ()
        if (config.vision_feature_select_strategy == "default") != bool(self._leading):
            raise UserError(
                f"{files.model}: vision_feature_select_strategy is {config.vision_feature_select_strategy!r} for a "
                f"{vision.model_type}; only a class token can be dropped, and it must be"
            )

    def __call__(self, camera: str, frame: UInt8[np.ndarray, "H W 3"]) -> Picture:
        made = prepared(self._processor, frame)
        height, width, _ = frame.shape
        found = tuple(made["pixel_values"].shape[-2:])
        if found != (self._tile, self._tile):
            raise UserError(
                f"preprocessing makes tiles of {found[0]} x {found[1]} pixels, the vision tower takes {self._tile} x "
                f"{self._tile}"
            )
        canvas = _Canvas.of(height, width, self._canvases)
        side = self._tile // self._patch
        whole = PatchGrid(camera, side, side, (0.0, 0.0, float(width), float(height)))
        rows, columns = canvas.height // self._tile, canvas.width // self._tile
        tiles = [
            PatchGrid(camera, side, side, canvas.box(row * self._tile, column * self._tile, self._tile, self._tile))
            for row in range(rows)
            for column in range(columns)
        ]
        tower = tuple(TowerSequence(grid, self._leading) for grid in (whole, *tiles))
        inputs = {"pixel_values": made["pixel_values"], "image_sizes": made["image_sizes"]}
        return Picture((whole, *self._rows(camera, canvas, rows * side, columns * side)), inputs, tower)

    def _rows(self, camera: str, canvas: _Canvas, rows: int, columns: int) -> list[Piece]:
        """The patches that show the frame, row by row, each row with its end."""
        top, left = canvas.padding(rows, columns)
        cell = self._patch
        pieces: list[Piece] = []
        for row in range(top, rows - top):
            box = canvas.box(row * cell, left * cell, cell, (columns - 2 * left) * cell)
            pieces += [PatchGrid(camera, 1, columns - 2 * left, box), Marker(self._token, "row ends")]
        return pieces


class _Canvas:
    """Where a frame lies on the canvas it was resized onto."""

    def __init__(self, frame: tuple[int, int], size: tuple[int, int]):
        self._frame = frame
        self.height, self.width = size
        across, down = self.width / frame[1], self.height / frame[0]
        if across < down:
            self._shown = (min(int(np.ceil(frame[0] * across)), self.height), self.width)
        else:
            self._shown = (self.height, min(int(np.ceil(frame[1] * down)), self.width))
        self._offset = ((self.height - self._shown[0]) // 2, (self.width - self._shown[1]) // 2)

    @staticmethod
    def of(height: int, width: int, canvases: list[list[int]]) -> _Canvas:
        return _Canvas((height, width), select_best_resolution((height, width), canvases))

    def box(self, top: int, left: int, height: int, width: int) -> Box:
        """A rectangle of the canvas, in pixels of the frame."""
        down, across = self._frame[0] / self._shown[0], self._frame[1] / self._shown[1]
        first_row, first_column = top - self._offset[0], left - self._offset[1]
        return (
            first_column * across,
            first_row * down,
            (first_column + width) * across,
            (first_row + height) * down,
        )

    def padding(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows of patches above and below, and columns left and right, that the model leaves out."""
        height, width = self._frame
        if width / height > columns / rows:
            return (rows - int(round(height * (columns / width), 7))) // 2, 0
        return 0, (columns - int(round(width * (rows / height), 7))) // 2


def _sizes(listed: Any) -> list[list[int]] | None:
    """Height and width of each canvas; None where that is no list of sizes."""
    pairs = (
        [list(each) for each in listed if isinstance(each, list | tuple)] if isinstance(listed, list | tuple) else []
    )
    proper = all(len(each) == 2 and all(isinstance(side, int) and side > 0 for side in each) for each in pairs)
    return pairs if pairs and proper and len(pairs) == len(listed) else None
