from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from models.errors import UserError
from models.images import ImagePreprocessing

SQUARE = {"size": {"height": 64, "width": 64}, "resample": 4, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CROPPED = {
    "size": {"shortest_edge": 64},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 48, "width": 48},
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
}


def preprocessing(folder: Path, settings: dict, file: str = "preprocessor_config.json") -> ImagePreprocessing:
    (folder / file).write_text(json.dumps(settings))
    return ImagePreprocessing.read(folder)


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 128), (131, 77), (40, 40)])
@pytest.mark.parametrize(
    ("settings", "processor"), [(SQUARE, SiglipImageProcessorPil), (CROPPED, CLIPImageProcessorPil)]
)
def test_pixels_equal_those_of_transformers(tmp_path: Path, height: int, width: int, settings, processor) -> None:
    ours = preprocessing(tmp_path, settings)(frame(height, width)).pixels
    theirs = processor(**settings)(Image.fromarray(frame(height, width)), return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(96, 160), (160, 96)])
def test_the_box_undoes_resize_and_crop(tmp_path: Path, height: int, width: int) -> None:
    """A bright rectangle in a frame that is not square: the patch that lights up covers it on the original frame."""
    read = preprocessing(tmp_path, {**CROPPED, "resample": 0, "image_mean": [0] * 3, "image_std": [1] * 3})
    dark = np.zeros((height, width, 3), np.uint8)
    grid = read(dark).grid("front", patch=12)
    assert (grid.rows, grid.columns, grid.camera) == (4, 4, "front")
    for index in range(16):
        left, top, right, bottom = (round(edge) for edge in grid.rectangle(index))
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        lit = dark.copy()
        lit[top:bottom, left:right] = 255
        patches = read(lit).pixels[0].reshape(4, 12, 4, 12).mean((1, 3))
        assert patches.argmax() == index
        assert patches.flat[index] > 0.8
        assert np.delete(patches.ravel(), index).max() < 0.15


def test_box_by_hand(tmp_path: Path) -> None:
    """160 x 96 (width x height): shortest edge 96 -> 48 halves it to 80 x 48; a 48 crop starts 16 seen = 32 own in."""
    read = preprocessing(tmp_path, {**CROPPED, "size": {"shortest_edge": 48}})
    assert read(frame(96, 160)).box == (32.0, 0.0, 128.0, 96.0)


def test_a_crop_larger_than_the_image_exceeds_the_frame(tmp_path: Path) -> None:
    seen = preprocessing(tmp_path, {**CROPPED, "do_resize": False, "crop_size": 20})(frame(16, 10))
    assert seen.box == (-5.0, -2.0, 15.0, 18.0)
    assert seen.pixels.shape == (3, 20, 20)


def test_a_rest_that_fills_no_patch_is_not_covered(tmp_path: Path) -> None:
    grid = preprocessing(tmp_path, SQUARE)(frame(128, 128)).grid("front", patch=14)  # 64 = 4 * 14 + 8
    assert (grid.rows, grid.columns) == (4, 4)
    assert grid.box == (0.0, 0.0, 112.0, 112.0)


def test_settings_of_transformers_5_are_found(tmp_path: Path) -> None:
    read = preprocessing(tmp_path, {"image_processor": SQUARE}, "processor_config.json")
    assert (read.height, read.width) == (64, 64)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "does not say how images are prepared"),
        ({**SQUARE, "do_pad": True}, "do_pad is true"),
        ({**SQUARE, "image_mean": [0.5]}, "image_mean has 1 values, expected 3"),
        ({"size": {"height": 64}}, "size.width is missing"),
        ({**CROPPED, "crop_size": {"shortest_edge": 3}}, "expected height and width"),
    ],
)
def test_refuses_settings(tmp_path: Path, settings: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        preprocessing(tmp_path, settings)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), "frame.png"]
)
def test_refuses_what_is_no_frame(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(UserError, match="image"):
        preprocessing(tmp_path, SQUARE)(wrong)  # type: ignore[arg-type]
