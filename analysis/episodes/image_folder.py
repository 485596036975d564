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
from analysis.episodes.image_folder_described import Described, read_described
from analysis.episodes.image_folder_files import Tables, is_episode, is_named, tables_of
from analysis.episodes.image_folder_frames import Frames, listed_frames, named_frames
from analysis.episodes.links import stays_inside
from analysis.episodes.raw_frame import MAX_FRAME_BYTES, as_png
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta, Step
from models.errors import UserError
from models.types import Observation, Rationale

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
PASSED_ON = ("jpeg", "png")  # what all that takes frames can read
LOOKED_AT = 200  # folders, until one is recognised


class ImageFolderSource:
    """One such folder, or every one below a folder. Ids are paths below the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def handles(cls, path: Path) -> bool:
        return path.is_dir() and any(found for _, found in islice(_folders(path), LOOKED_AT))

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Reads the tables and the names of the frames, no frame."""
        for folder in _episodes(self.root):
            try:
                yield _read(folder, self._id(folder), self.root).meta
            except UserError as error:
                yield BrokenEpisode(str(folder), str(error))

    def open(self, id: str) -> ImageFolderEpisode:
        folder = self.root if id == self.root.name and is_episode(self.root) else self.root / id
        inside = not any(part.startswith(".") for part in Path(id).parts) and stays_inside(folder, self.root)
        if not id or not inside or not is_episode(folder):
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
        return decode(self._read(camera, index)[0], f"{self.frames[camera][index].name} of camera {camera!r}", FORMATS)

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """The file's bytes and their media type, told by the bytes rather than the suffix; WebP and BMP as PNG."""
        data, kind = self._read(camera, index)
        return (data, f"image/{kind}") if kind in PASSED_ON else (as_png(self.frame(camera, index)), "image/png")

    def _read(self, camera: str, index: int) -> tuple[bytes, str]:
        self._check_index(index)
        if camera not in self.frames:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.meta.cameras)}"
            )
        path = self.frames[camera][index]
        data = _bytes(path, self.root)
        found = header(data, FORMATS)
        if found is None:
            raise UserError(f"{path.name} of camera {camera!r} cannot be decoded: its {len(data):,} bytes are no image")
        return data, found[0]

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


def _folders(root: Path) -> Iterator[tuple[Path, bool]]:
    """The root and the folders below it in a stable order, and whether each is an episode.

    Not into links, hidden folders and episodes; but into those that only look like one, as there may be others below.
    """
    for name, inner, _ in os.walk(root, followlinks=False):
        folder = Path(name)
        inner[:] = [] if is_named(folder) else sorted(each for each in inner if not each.startswith("."))
        yield folder, is_episode(folder)


def _episodes(root: Path) -> Iterator[Path]:
    return (folder for folder, found in _folders(root) if found)


def _read(folder: Path, id: str, root: Path) -> ImageFolderEpisode:
    tables = tables_of(folder)
    described = read_described(folder, tables, root)
    frames = named_frames(folder, described.images, root) if described.images else listed_frames(folder, root)
    length = len(described.actions.values)
    for camera, files in frames.items():
        if len(files) != length:
            raise UserError(
                f"lengths disagree in {folder.name}: camera {camera!r} has {len(files)} frames and there are {length} "
                "actions; expected one each a step"
            )
    return ImageFolderEpisode(
        _meta(folder, id, described, frames, tables),
        described.actions.values,
        None if described.states is None else described.states.values,
        frames,
        root,
        described.rationales,
    )


def _meta(folder: Path, id: str, said: Described, frames: Frames, tables: Tables) -> EpisodeMeta:
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
        digest=_digest(tables, frames),
    )


def _digest(tables: Tables, frames: Frames) -> str:
    """Over the tables, and the frames' names and sizes: no frame is read for a list."""
    digest = hashlib.sha256()
    for path in tables.there:
        digest.update(path.name.encode("utf-8", "replace") + read_bytes(path))
    for camera, files in frames.items():
        for file in files:
            digest.update(f"{camera}/{file.name} {file.stat().st_size}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:16]
