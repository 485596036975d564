"""Episodes in the format of docs/episode-hdf5.md: one HDF5 file each, in a folder or alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, UInt8

from analysis.episodes.encoded_image import decode, decode_labels, header
from analysis.episodes.hdf5_file import (
    LOOKED_IN,
    SIGNATURE,
    SUFFIXES,
    begins_with,
    check_inside,
    hdf5_files,
    reading,
    stamp,
)
from analysis.episodes.hdf5_guard import check
from analysis.episodes.hdf5_layout import layout
from analysis.episodes.hdf5_meta import ENCODINGS, dataset, names, read_meta, read_rationales, series, text
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta, SceneObject, Step
from models.errors import UserError
from models.types import Observation, Rationale

FOREIGN = ("robomimic", "aloha")
SHIPPED = Path(__file__).resolve().parents[2] / "sample_data"  # as trusted as the program that it comes with


class Hdf5Source:
    """A file, or every ``.hdf5`` and ``.h5`` file in and below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths: dict[str, Path] = {}  # id -> file, as of the last scan

    @classmethod
    def handles(cls, path: Path) -> bool:
        """Every HDF5 file that no other format claims: if it is none of ours either, the list says so."""
        if path.is_file() and path.suffix not in SUFFIXES and not begins_with(path, SIGNATURE):
            return False
        return next(hdf5_files(path, LOOKED_IN), None) is not None and layout(path) not in FOREIGN

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        paths: dict[str, Path] = {}
        for path in hdf5_files(self.root):
            try:
                meta = self._meta(path)
                if meta.id in paths:
                    raise UserError(f"{path.name} has the id {meta.id!r}, as {paths[meta.id].name} has; ids are unique")
                paths[meta.id] = path
                yield meta
            except UserError as error:
                yield BrokenEpisode(str(path), str(error))
        self._paths = paths

    def expect(self, id: str, source: str) -> None:
        """Says where an earlier scan found an episode, so that it is opened without listing the folder."""
        path = Path(source)
        if id not in self._paths and path.is_file() and path.is_relative_to(self.root):
            self._paths[id] = path

    def open(self, id: str) -> Hdf5Episode:
        if id in self._paths and not self._holds(self._paths[id], id):
            del self._paths[id]
        if id not in self._paths and (likely := self._named(id)) is not None:
            self._paths[id] = likely
        if id not in self._paths:
            for _ in self.scan():
                pass
        if id not in self._paths:
            raise UserError(f"there is no readable episode {id!r} at {self.root}; it has {_some(self._paths)}")
        path = self._paths[id]
        meta = self._meta(path)
        with reading(path) as file:
            episode = Hdf5Episode(
                meta=meta,
                actions=series(file, "actions", path),
                states=series(file, "observations/state", path) if meta.state_names else None,
                rationales=read_rationales(file, meta.length, path),
                stamp=stamp(path),
            )
        for camera in meta.cameras:
            episode.encoded_frame(camera, 0)
        return episode

    def _holds(self, path: Path, id: str) -> bool:
        """Whether the file is still the one that was listed; a damaged one says so when it is opened."""
        try:
            return path.exists() and self._meta(path).id == id
        except UserError:
            return True

    def _named(self, id: str) -> Path | None:
        """The one file that is named after the episode, so that the others need not be read to find it."""
        found = [path for path in hdf5_files(self.root) if path.stem == id]
        try:
            return found[0] if len(found) == 1 and self._meta(found[0]).id == id else None
        except UserError:
            return None

    def _meta(self, path: Path) -> EpisodeMeta:
        check_inside(path, self.root)
        return _read_meta(path, stamp(path))


@dataclass(frozen=True)
class Hdf5Episode:
    """One file. It is opened anew for every frame (half a millisecond), so that no handle outlives its use."""

    meta: EpisodeMeta
    actions: Float[np.ndarray, "T D"]  # units: meta.action_units
    states: Float[np.ndarray, "T S"] | None  # units: meta.state_units
    rationales: tuple[Rationale, ...]
    stamp: tuple[int, int]  # size in bytes and modification time in ns when the file was opened

    def step(self, index: int) -> Step:
        """The moment ``index``, with frames, masks and boxes decoded. Raises UserError for an undecodable image."""
        self._check_index(index)
        with self._file() as file:
            frames = {camera: decode(*self._encoded(file, camera, index)) for camera in self.meta.cameras}
            phase = text(file["steps/phase"][index]) if "steps/phase" in file else ""
            objects = {camera: found for camera in self.meta.cameras if (found := self._objects(file, camera, index))}
        state = None if self.states is None else self.states[index]
        return Step(
            index=index,
            time=index / self.meta.fps,
            observation=Observation(images=frames, instruction=self.meta.instruction, state=state),
            action=self.actions[index],
            phase=phase,
            objects=objects,
        )

    def frame(self, camera: str, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One camera's frame, decoded. Raises UserError for an unknown camera or an undecodable image."""
        self._check_index(index)
        with self._file() as file:
            return decode(*self._encoded(file, camera, index))

    def encoded_frame(self, camera: str, index: int) -> tuple[bytes, str]:
        """The bytes as stored and their media type; only the image's header is looked at."""
        self._check_index(index)
        with self._file() as file:
            data, _ = self._encoded(file, camera, index)
            encoding = text(file[f"observations/images/{camera}"].attrs["encoding"])
        return data, ENCODINGS[encoding]

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.meta.length:
            raise UserError(
                f"episode {self.meta.id!r} has steps 0 to {self.meta.length - 1}; step {index} was asked for"
            )

    @contextmanager
    def _file(self) -> Iterator[h5py.File]:
        path = Path(self.meta.source)
        if not path.exists() or stamp(path) != self.stamp:
            raise UserError(f"{path.name} was changed or removed after it was opened; open the episode again")
        with reading(path) as file:
            yield file

    def _encoded(self, file: h5py.File, camera: str, index: int) -> tuple[bytes, str]:
        """The image's bytes, its header checked, and a phrase that says which image it is."""
        if camera not in self.meta.cameras:
            raise UserError(
                f"episode {self.meta.id!r} has no camera {camera!r}; its cameras are {', '.join(self.meta.cameras)}"
            )
        path = Path(self.meta.source)
        data = dataset(file, f"observations/images/{camera}", path)
        where = f"frame {index} of camera {camera!r} in {path.name}"
        encoded: bytes = data[index].tobytes()
        wanted = (text(data.attrs["encoding"]), int(data.attrs["width"]), int(data.attrs["height"]))
        found = header(encoded)
        if found is None:
            raise UserError(f"{where} cannot be decoded: its {len(encoded):,} bytes are no {wanted[0]} image")
        if found != wanted:
            raise UserError(
                f"{where} is {found[0]} of {found[1]} x {found[2]} pixels; expected {wanted[0]} of "
                f"{wanted[1]} x {wanted[2]}, as the file states"
            )
        return encoded, where

    def _objects(self, file: h5py.File, camera: str, index: int) -> tuple[SceneObject, ...]:
        path = Path(self.meta.source)
        given = {
            kind: dataset(file, name, path) for kind in ("mask", "box") if (name := f"truth/{camera}/{kind}") in file
        }
        if not given:
            return ()
        labels = next(names(data, "labels", path) for data in given.values() if "labels" in data.attrs)
        mask = None
        if "mask" in given:
            mask = decode_labels(given["mask"][index].tobytes(), f"mask {index} of camera {camera!r} in {path.name}")
        boxes = given["box"][index] if "box" in given else None
        positions = dataset(file, "truth/position", path)[index] if "truth/position" in file else None
        return tuple(
            SceneObject(
                name=name,
                position=_row(positions, k),
                box=None
                if (row := _row(boxes, k)) is None
                else (row[0].item(), row[1].item(), row[2].item(), row[3].item()),
                mask=None if mask is None else mask == k + 1,
            )
            for k, name in enumerate(labels[1:])
        )


def _row(values: np.ndarray | None, k: int) -> np.ndarray | None:
    """Row k, or None where the format says NaN: out of view, or a thing without one position."""
    return None if values is None or k >= len(values) or np.isnan(values[k]).any() else values[k]


@lru_cache(maxsize=4096)
def _read_meta(path: Path, stamp: tuple[int, int]) -> EpisodeMeta:
    """Kept by size and modification time, so that listing a folder again costs a stat for each file."""
    if not path.resolve().is_relative_to(SHIPPED):
        check(path)
    try:
        with reading(path) as file:
            return read_meta(file, path)
    except (TypeError, ValueError, AttributeError) as error:  # things of another type than the format's own
        raise UserError(f"{path.name} does not follow docs/episode-hdf5.md: {error}") from None


def _some(ids: Mapping[str, Path]) -> str:
    listed = ", ".join(list(ids)[:5])
    return f"{len(ids)} others, such as {listed}" if ids else "none that can be read"
