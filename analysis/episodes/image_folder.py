"""Episodes as folders of plain images with a JSON or CSV beside them (docs/episode-image-folder.md)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.encoded_image import decode, header
from analysis.episodes.file_bytes import read_bytes
from analysis.episodes.image_folder_table import ACTIONS, DESCRIPTION, LFS_POINTER, STATES, Described, read_described
from analysis.episodes.links import stays_inside
from analysis.episodes.raw_frame import MAX_FRAME_BYTES
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta, Step
from models.errors import UserError
from models.types import Observation, Rationale

SUFFIXES = (".png", ".jpg", ".jpeg")
ONE_CAMERA = "image"  # the name of the only camera, where frames lie without a folder of its name
POINTER_BYTES = range(110, 200)  # how large a Git LFS pointer can be
LOOKED_AT = 200  # folders, until one is recognised


class ImageFolderSource:
    """One such folder, or every one below a folder. Ids are paths below the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def handles(cls, path: Path) -> bool:
        return path.is_dir() and any(_is_episode(folder) for folder in islice(_folders(path), LOOKED_AT))

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Reads the tables and the names of the frames, no frame."""
        for folder in _episodes(self.root):
            try:
                yield _read(folder, self._id(folder), self.root).meta
            except UserError as error:
                yield BrokenEpisode(str(folder), str(error))

    def open(self, id: str) -> ImageFolderEpisode:
        folder = self.root if id == self.root.name and _is_episode(self.root) else self.root / id
        inside = not any(part.startswith(".") for part in Path(id).parts) and stays_inside(folder, self.root)
        if not id or not inside or not _is_episode(folder):
            some = ", ".join(self._id(folder) for folder in islice(_episodes(self.root), 5))
            raise UserError(f"there is no episode {id!r} at {self.root}; it has {some or 'none'}")
        return _read(folder, id, self.root)

    def _id(self, folder: Path) -> str:
        return folder.name if folder == self.root else folder.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class ImageFolderEpisode:
    """One folder; each frame is its own file, read when asked for."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # units: meta.action_units
    states: Float[np.ndarray, "T S"] | None  # units: meta.state_units
    frames: Mapping[str, tuple[Path, ...]]  # camera -> T files in the order of their numbers
    root: Path  # out of which no link is followed
    rationales: tuple[Rationale, ...] = ()

    def step(self, index: int) -> Step:
        """The moment ``index`` with its frames decoded. Raises UserError for an undecodable image."""
        self._check_index(index)
        images = {camera: self.frame(camera, index) for camera in self.meta.cameras}
        state = None if self.states is None else self.states[index]
        return Step(
            index=index,
            time=index / self.meta.fps,
            observation=Observation(images=images, instruction=self.meta.instruction, state=state),
            action=self.actions[index],
        )

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One camera's frame, decoded. Raises UserError for an unknown camera or an undecodable image."""
        return decode(self.encoded_frame(camera, index)[0], f"{self.frames[camera][index].name} of camera {camera!r}")

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """The file's bytes and their media type, told by the bytes rather than the suffix."""
        self._check_index(index)
        if camera not in self.frames:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.meta.cameras)}"
            )
        path = self.frames[camera][index]
        data = _bytes(path, self.root)
        found = header(data)
        if found is None:
            raise UserError(f"{path.name} of camera {camera!r} cannot be decoded: its {len(data):,} bytes are no image")
        return data, f"image/{found[0]}"

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.meta.length:
            raise UserError(
                f"episode {self.meta.id!r} has steps 0 to {self.meta.length - 1}; step {index} was asked for"
            )


def _bytes(path: Path, root: Path) -> bytes:
    if path.is_symlink() and not stays_inside(path, root):
        raise UserError(f"{path.name} is a link that leads out of {root}; put the file itself there")
    try:
        size = path.stat().st_size
        if size > MAX_FRAME_BYTES:
            raise UserError(f"{path.name} has {size:,} bytes; a frame of at most {MAX_FRAME_BYTES:,} is read")
        return read_bytes(path)
    except OSError as error:
        raise UserError(f"{path.name} in {path.parent} cannot be read: {error.strerror}") from None


def _folders(root: Path) -> Iterator[Path]:
    """The root and the folders below it in a stable order, not into episodes, links and hidden folders."""
    for folder, inner, _ in os.walk(root, followlinks=False):
        inner[:] = [] if _is_episode(Path(folder)) else sorted(name for name in inner if not name.startswith("."))
        yield Path(folder)


def _episodes(root: Path) -> Iterator[Path]:
    return (folder for folder in _folders(root) if _is_episode(folder))


def _is_episode(folder: Path) -> bool:
    return (folder / DESCRIPTION).exists() or (folder / ACTIONS).exists()


def _read(folder: Path, id: str, root: Path) -> ImageFolderEpisode:
    described = read_described(folder, root)
    frames = _frames(folder, root)
    length = len(described.actions.values)
    for camera, files in frames.items():
        if len(files) != length:
            raise UserError(
                f"lengths disagree in {folder.name}: camera {camera!r} has {len(files)} frames and there are {length} "
                "actions; expected one each a step"
            )
    return ImageFolderEpisode(
        _meta(folder, id, described, frames),
        described.actions.values,
        None if described.states is None else described.states.values,
        frames,
        root,
        described.rationales,
    )


def _meta(folder: Path, id: str, said: Described, frames: Mapping[str, tuple[Path, ...]]) -> EpisodeMeta:
    return EpisodeMeta(
        id=id,
        source=str(folder),
        instruction=said.instruction,
        length=len(said.actions.values),
        fps=said.fps,
        cameras=tuple(frames),
        success=said.success,
        task=said.task,
        robot=said.robot,
        action_names=said.actions.names,
        action_units=said.actions.units,
        state_names=() if said.states is None else said.states.names,
        state_units=() if said.states is None else said.states.units,
        has_rationale=bool(said.rationales),
        digest=_digest(folder, frames),
    )


def _digest(folder: Path, frames: Mapping[str, tuple[Path, ...]]) -> str:
    """Over the tables, and the frames' names and sizes: no frame is read for a list."""
    digest = hashlib.sha256()
    for name in (DESCRIPTION, ACTIONS, STATES):
        if (folder / name).exists():
            digest.update(name.encode() + read_bytes(folder / name))
    for camera, files in frames.items():
        for file in files:
            digest.update(f"{camera}/{file.name} {file.stat().st_size}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:16]


def _frames(folder: Path, root: Path) -> dict[str, tuple[Path, ...]]:
    """Camera -> its files, out of ``frames/<camera>/``, ``frames/`` or the folder itself, whichever holds images."""
    inside = folder / "frames"
    if inside.is_symlink() and not stays_inside(inside, root):
        raise UserError(
            f"{inside.name} in {folder.name} is a link that leads out of {root}; put the folder itself there"
        )
    cameras = sorted(entry for entry in _entries(inside) if entry.is_dir() and not entry.is_symlink())
    found = {camera.name: _numbered(camera) for camera in cameras}
    found = {name: files for name, files in found.items() if files}
    if not found:
        flat = _numbered(inside) or _numbered(folder)
        found = {ONE_CAMERA: flat} if flat else {}
    if not found:
        raise UserError(
            f"{folder.name} has no frames; expected files such as frames/<camera>/000000.png or frames/000000.jpg"
        )
    for camera, files in found.items():
        for file in files:
            if file.is_symlink() and not stays_inside(file, root):
                raise UserError(f"{file.name} of camera {camera!r} in {folder.name} is a link that leads out of {root}")
            if not file.is_file():
                raise UserError(f"{file.name} of camera {camera!r} in {folder.name} is no file, or a link to nothing")
            _check_fetched(file, f"{file.name} of camera {camera!r} in {folder.name}")
    return found


def _check_fetched(file: Path, which: str) -> None:
    """By the size, so that no frame is read for a list. Raises UserError for an empty file and a Git LFS pointer."""
    size = file.stat().st_size
    if size == 0:
        raise UserError(f"{which} is empty; copy it again")
    if size in POINTER_BYTES and read_bytes(file).startswith(LFS_POINTER):
        raise UserError(f"{which} is a Git LFS pointer, not the image; run: git lfs pull")


def _numbered(folder: Path) -> tuple[Path, ...]:
    """The images of a folder by the number that ends their names: frame_2 before frame_10."""
    found: dict[int, Path] = {}
    for file in _entries(folder):
        if file.suffix.lower() not in SUFFIXES or file.name.startswith("."):
            continue
        digits = file.stem[len(file.stem.rstrip("0123456789")) :]
        if not digits or len(digits) > 18:
            raise UserError(
                f"{file.name} in {folder} has no number at the end of its name; expected 000000{file.suffix}"
            )
        if int(digits) in found:
            raise UserError(f"{folder} has two frames {int(digits)}: {found[int(digits)].name} and {file.name}")
        found[int(digits)] = file
    numbers = sorted(found)
    if numbers and numbers[-1] - numbers[0] + 1 != len(numbers):
        missing = next(number for number in range(numbers[0], numbers[-1]) if number not in found)
        raise UserError(f"{folder} has no frame {missing} between {numbers[0]} and {numbers[-1]}")
    return tuple(found[number] for number in numbers)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None
