"""The frames of an image folder: where its cameras' images lie, and in which order."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.links import stays_inside
from models.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PLACES = ("frames", "images")  # folders whose names are no camera's
ONE_CAMERA = "image"  # the name of the only camera, where frames lie without a folder of its name
NO_PICTURES = ("depth", "mask", "segmentation")  # in the name of a folder whose images are no frames
POINTER_BYTES = range(110, 200)  # how large a Git LFS pointer can be
LFS_POINTER = b"version https://git-lfs"
NUMBER = re.compile(r"\d+", re.ASCII)

Frames = dict[str, tuple[Path, ...]]


def camera_folders(folder: Path) -> dict[str, Path]:
    """Camera -> where its images lie: ``frames`` or ``images``, a folder a camera in them, or the same without them.

    Only folders with at least one numbered image are told. Raises UserError for one that cannot be listed.
    """
    for inside in (folder / name for name in PLACES):
        if found := _cameras(inside) or _alone(inside):
            return found
    return _alone(folder) or _cameras(folder)


def listed_frames(folder: Path, root: Path) -> Frames:
    """Camera -> its files by their numbers. Raises UserError for frames that are not there, or not once."""
    for inside in (folder / name for name in PLACES):
        if inside.is_symlink() and not stays_inside(inside, root):
            raise UserError(
                f"{inside.name} in {folder.name} is a link that leads out of {root}; put the folder itself there"
            )
    found = {camera: _numbered(inside) for camera, inside in camera_folders(folder).items()}
    if not found:
        raise UserError(
            f"{folder.name} has no frames; expected files such as frames/<camera>/000000.png or frames/000000.jpg"
        )
    _check(found, folder, root)
    return found


def named_frames(folder: Path, names: Sequence[str], root: Path) -> Frames:
    """The one camera whose files are named step by step, below ``folder``. Raises UserError for any other name."""
    for name in names:
        if not _is_path(name) or Path(name).suffix.lower() not in SUFFIXES or not stays_inside(folder / name, root):
            raise UserError(f"a step of {folder.name} names {name[:80]!r} as its image; expected frames/000000.png")
    files = tuple(folder / name for name in names)
    places = {file.parent for file in files}
    camera = places.pop().name if len(places) == 1 and folder not in places else ONE_CAMERA
    found = {ONE_CAMERA if camera in PLACES else camera: files}
    _check(found, folder, root)
    return found


def holds_frames(folder: Path, least: int = 1) -> bool:
    """Whether there are at least so many numbered images in a folder."""
    return sum(NUMBER.search(file.stem) is not None for file in _images(folder)) >= least


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is none. Raises UserError if it cannot be listed."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None


def _alone(inside: Path) -> dict[str, Path]:
    return {ONE_CAMERA: inside} if holds_frames(inside) else {}


def _cameras(inside: Path) -> dict[str, Path]:
    folders = [entry for entry in entries(inside) if entry.is_dir() and not entry.is_symlink()]
    found = {entry.name: entry for entry in folders if not entry.name.startswith(".") and holds_frames(entry)}
    seen = {name: entry for name, entry in found.items() if not any(word in name.lower() for word in NO_PICTURES)}
    return seen or found


def _is_path(name: str) -> bool:
    """Whether the system can be asked about a file of this name."""
    try:
        return "\0" not in name and len(os.fsencode(name)) < 256
    except UnicodeEncodeError:
        return False


def _images(folder: Path) -> list[Path]:
    return [file for file in entries(folder) if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]


def _numbered(folder: Path) -> tuple[Path, ...]:
    """The images of a folder by the last number in their names: frame_2_rgb before frame_10_rgb."""
    found: dict[int, Path] = {}
    for file in _images(folder):
        digits = (NUMBER.findall(file.stem) or [""])[-1]
        if not digits or len(digits) > 18:
            raise UserError(f"{file.name} in {folder} has no number in its name; expected 000000{file.suffix}")
        if int(digits) in found:
            raise UserError(f"{folder} has two frames {int(digits)}: {found[int(digits)].name} and {file.name}")
        found[int(digits)] = file
    numbers = sorted(found)
    if numbers and numbers[-1] - numbers[0] + 1 != len(numbers):
        missing = next(number for number in range(numbers[0], numbers[-1]) if number not in found)
        raise UserError(f"{folder} has no frame {missing} between {numbers[0]} and {numbers[-1]}")
    return tuple(found[number] for number in numbers)


def _check(found: Frames, folder: Path, root: Path) -> None:
    for camera, files in found.items():
        for file in files:
            if file.is_symlink() and not stays_inside(file, root):
                raise UserError(f"{file.name} of camera {camera!r} in {folder.name} is a link that leads out of {root}")
            if not file.is_file():
                raise UserError(f"{file.name} of camera {camera!r} in {folder.name} is no file, or a link to nothing")
            _check_fetched(file, f"{file.name} of camera {camera!r} in {folder.name}")


def _check_fetched(file: Path, which: str) -> None:
    """By the size, so that no frame is read for a list. Raises UserError for an empty file and a Git LFS pointer."""
    size = file.stat().st_size
    if size == 0:
        raise UserError(f"{which} is empty; copy it again")
    if size in POINTER_BYTES and read_bytes(file).startswith(LFS_POINTER):
        raise UserError(f"{which} is a Git LFS pointer, not the image; run: git lfs pull")
