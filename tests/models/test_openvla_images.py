"""Prismatic's image preparation: each resize strategy worked out by hand, and the way back to the original frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.prismatic_images import PrismaticImages
from tests.tiny_openvla import TOWERS, write_preprocessor

TOWER = TOWERS["siglip"]  # mean and deviation 0.5


def read(folder: Path, strategy: str, image: int = 56, **changes: object) -> PrismaticImages:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    write_preprocessor(folder, [TOWER], strategy, image)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in settings.items() if value != "left out"}))
    return PrismaticImages.read(CheckpointFiles.open(folder))


def frame(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalised(image: Image.Image) -> np.ndarray:
    values = (np.asarray(image, np.float32) / 255 - 0.5) / 0.5
    return values.transpose(2, 0, 1)


def test_naive_squeezes_the_whole_frame(tmp_path: Path) -> None:
    picture = frame(100, 60)
    (seen,) = read(tmp_path, "resize-naive")(picture)
    expected = normalised(Image.fromarray(picture).resize((56, 56), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(seen.pixels, expected, atol=1e-6)
    assert seen.box == (0, 0, 100, 60)
    assert seen.grid("image", 14).rectangle(5) == pytest.approx((25, 15, 50, 30))


@pytest.mark.parametrize(("width", "height"), [(100, 60), (60, 100)])
def test_crop_keeps_the_middle(width: int, height: int, tmp_path: Path) -> None:
    picture = frame(width, height)
    (seen,) = read(tmp_path, "resize-crop")(picture)
    long = int(56 * 100 / 60)  # 93: 37 too many, of which round(18.5) = 18 on the left or top
    size, corner = ((long, 56), (18, 0)) if width > height else ((56, long), (0, 18))
    resized = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    expected = normalised(resized.crop((*corner, corner[0] + 56, corner[1] + 56)))
    np.testing.assert_allclose(seen.pixels, expected, atol=1e-6)
    scale = 100 / long
    kept = (18 * scale, 0, 74 * scale, 60) if width > height else (0, 18 * scale, 60, 74 * scale)
    assert seen.box == pytest.approx(kept)


def test_letterbox_pads_and_its_box_exceeds_the_frame(tmp_path: Path) -> None:
    picture = frame(100, 60)
    (seen,) = read(tmp_path, "letterbox")(picture)
    square = np.full((100, 100, 3), 127, np.uint8)
    square[20:80] = picture
    expected = normalised(Image.fromarray(square).resize((56, 56), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(seen.pixels, expected, atol=1e-6)
    assert seen.box == (0, -20, 100, 80)


def test_letterbox_of_an_odd_difference_is_one_pixel_short(tmp_path: Path) -> None:
    (seen,) = read(tmp_path, "letterbox")(frame(101, 60))
    assert seen.pixels.shape == (3, 56, 56)
    assert seen.box[1] == pytest.approx(-20)
    assert seen.box[3] == pytest.approx(80)
    assert (seen.box[0], seen.box[2]) == pytest.approx((0, 101), abs=2), "of 101 x 100 pixels the middle is seen"


@pytest.mark.parametrize("strategy", ["resize-naive", "resize-crop", "letterbox"])
def test_files_without_the_derived_entries_say_the_same(strategy: str, tmp_path: Path) -> None:
    derived = ("tvf_resize_params", "tvf_crop_params", "tvf_normalize_params", "tvf_do_letterbox", "tvf_letterbox_fill")
    (one,) = read(tmp_path / "a", strategy)(frame(90, 70))
    (other,) = read(tmp_path / "b", strategy, **dict.fromkeys(derived, "left out"))(frame(90, 70))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.box == other.box


def test_what_the_file_states_beats_the_strategy(tmp_path: Path) -> None:
    params = [{"antialias": True, "interpolation": 2, "max_size": None, "size": [56, 56]}]
    picture = frame(100, 60)
    (seen,) = read(tmp_path, "resize-crop", tvf_resize_params=params)(picture)
    expected = normalised(Image.fromarray(picture).resize((56, 56), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(seen.pixels, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_resize_strategy": "stretch"}, "image_resize_strategy is 'stretch', expected one of resize-naive"),
        ({"input_sizes": [[3, 56, 56]] * 3}, "input_sizes has 3 entries, expected one for each of 1 or 2 towers"),
        ({"tvf_resize_params": [{"size": "56"}]}, r"tvf_resize_params\[0\]\.size is '56', expected a whole number"),
        ({"tvf_resize_params": []}, r"tvf_resize_params is \[\], expected a list with one entry for each tower"),
        ({"tvf_resize_params": [{"size": 56, "interpolation": 9}]}, "interpolation is 9, expected one of PIL's"),
        ({"tvf_normalize_params": [{"mean": [0.5], "std": [1, 1, 1]}]}, "mean has 1 values, expected 3"),
        ({"tvf_normalize_params": [{"mean": [0, 0, 0], "std": [0, 1, 1]}]}, "expected numbers above zero"),
        ({"tvf_crop_params": [3]}, r"tvf_crop_params\[0\] is 3, expected an object"),
    ],
)
def test_a_file_that_makes_no_sense(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, "resize-naive", **changes)


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"has no preprocessor_config\.json"):
        PrismaticImages.read(CheckpointFiles.open(tmp_path))


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_refuses_what_is_no_frame(picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"uint8 array of height x width x 3|has no pixels"):
        read(tmp_path, "resize-naive")(picture)
