"""Writes one episode in the format of docs/episode-hdf5.md: shipped data, rollouts and tests all go through here."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from models.errors import UserError
from models.types import Rationale

FORMAT = "vla-lens-episode"
VERSION = 1
RATIONALE_PARTS = ("observation", "situation", "spatial", "planning")


@dataclass(frozen=True)
class Series:
    """Numbers over time, and what each column is."""

    values: Float[np.ndarray, "T C"]  # units: those of ``units``, column by column
    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class CameraTruth:
    """Ground truth seen by one camera; either field may be missing."""

    labels: tuple[str, ...]  # labels[0] is "background"; label k of a mask is labels[k]
    masks: Sequence[UInt8[np.ndarray, "H W"]] | None = None  # T label images of the frame's size
    boxes: Float[np.ndarray, "T K 4"] | None = None  # left, top, right, bottom in pixels; row k is labels[k + 1]


def write_episode(
    path: str | os.PathLike[str],
    *,
    id: str,
    instruction: str,
    fps: float,
    actions: Series,
    images: Mapping[str, Sequence[bytes | UInt8[np.ndarray, "H W 3"]]],
    states: Series | None = None,
    success: bool | None = None,
    task: str = "",
    robot: str = "",
    phases: Sequence[str] | None = None,
    truth: Mapping[str, CameraTruth] | None = None,
    positions: Float[np.ndarray, "T K 3"] | None = None,
    rationales: Sequence[Rationale] = (),
    attributes: Mapping[str, str | int | float | bool] | None = None,
    encoding: str | Mapping[str, str] = "jpeg",
    quality: int = 92,
) -> Path:
    """Writes the episode under a temporary name and renames it: ``path`` is either whole or as it was before.

    ``images``: per camera T frames, as arrays or already encoded in ``encoding`` ("jpeg" or "png"; or one per camera).
    ``positions``: metres in the robot's base frame, row k for label k + 1. ``attributes``: further attributes of the
    file, such as ``seed``. The same input always gives the same bytes.

    Raises UserError when lengths disagree with the number of actions.
    """
    path = Path(path)
    steps = len(actions.values)
    _check_lengths(steps, images, states, phases, truth or {}, positions)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            head = {"format": FORMAT, "version": VERSION, "id": id, "instruction": instruction, "fps": float(fps)}
            head |= {"task": task, "robot": robot} | ({} if success is None else {"success": bool(success)})
            for name, value in (head | dict(attributes or {})).items():
                file.attrs[name] = value
            _write_series(file, "actions", actions)
            if states is not None:
                _write_series(file, "observations/state", states)
            for camera, frames in images.items():
                own = encoding if isinstance(encoding, str) else encoding[camera]
                _write_images(file, camera, frames, own, quality)
            if phases is not None:
                file.create_dataset("steps/phase", data=list(phases), dtype=h5py.string_dtype())
            _write_truth(file, truth or {}, positions)
            _write_rationales(file, rationales)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep the file from other people of the same machine
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _check_lengths(
    steps: int,
    images: Mapping[str, Sequence[bytes | np.ndarray]],
    states: Series | None,
    phases: Sequence[str] | None,
    truth: Mapping[str, CameraTruth],
    positions: np.ndarray | None,
) -> None:
    lengths = {f"images of camera {camera!r}": len(frames) for camera, frames in images.items()}
    lengths |= {} if states is None else {"states": len(states.values)}
    lengths |= {} if phases is None else {"phases": len(phases)}
    lengths |= {} if positions is None else {"positions": len(positions)}
    for camera, seen in truth.items():
        lengths |= {} if seen.masks is None else {f"masks of camera {camera!r}": len(seen.masks)}
        lengths |= {} if seen.boxes is None else {f"boxes of camera {camera!r}": len(seen.boxes)}
    for what, length in lengths.items():
        if length != steps:
            raise UserError(f"cannot write an episode of {steps} actions: there are {length} {what}, expected {steps}")


def _write_series(file: h5py.File, path: str, series: Series) -> None:
    data = file.create_dataset(path, data=np.asarray(series.values, dtype=np.float32))
    data.attrs["names"] = list(series.names)
    data.attrs["units"] = list(series.units)


def _write_images(
    file: h5py.File, camera: str, frames: Sequence[bytes | np.ndarray], encoding: str, quality: int
) -> None:
    encoded = [frame if isinstance(frame, bytes) else encode_image(frame, encoding, quality) for frame in frames]
    data = _write_bytes(file, f"observations/images/{camera}", encoded)
    data.attrs["encoding"] = encoding
    if encoded:
        with Image.open(io.BytesIO(encoded[0])) as first:
            data.attrs["width"], data.attrs["height"] = first.size


def _write_bytes(file: h5py.File, path: str, items: Sequence[bytes]) -> h5py.Dataset:
    data = file.create_dataset(path, shape=(len(items),), dtype=h5py.vlen_dtype(np.uint8))
    for index, item in enumerate(items):
        data[index] = np.frombuffer(item, dtype=np.uint8)
    return data


def _write_truth(file: h5py.File, truth: Mapping[str, CameraTruth], positions: np.ndarray | None) -> None:
    for camera, seen in truth.items():
        if seen.masks is not None:
            masks = [encode_image(np.asarray(mask, dtype=np.uint8), "png", 0) for mask in seen.masks]
            _write_bytes(file, f"truth/{camera}/mask", masks).attrs["labels"] = list(seen.labels)
        if seen.boxes is not None:
            boxes = file.create_dataset(f"truth/{camera}/box", data=np.asarray(seen.boxes, dtype=np.float32))
            boxes.attrs["labels"] = list(seen.labels)
    if positions is not None:
        data = file.create_dataset("truth/position", data=np.asarray(positions, dtype=np.float32))
        labels = next((seen.labels for seen in truth.values()), ())
        data.attrs["labels"] = list(labels)


def _write_rationales(file: h5py.File, rationales: Sequence[Rationale]) -> None:
    if not rationales:
        return
    file.create_dataset("rationales/start", data=np.array([r.start for r in rationales], dtype=np.int32))
    file.create_dataset("rationales/stop", data=np.array([r.stop for r in rationales], dtype=np.int32))
    text = h5py.string_dtype()
    file.create_dataset("rationales/author", data=[r.author for r in rationales], dtype=text)
    others = dict.fromkeys(part for r in rationales for part in r.parts if part not in RATIONALE_PARTS)
    for part in (*RATIONALE_PARTS, *others):
        name = part.replace("/", "_").strip(".") or "part"  # in HDF5 slashes and dots lead to other groups
        while f"rationales/parts/{name}" in file:
            name += "_"
        said = [r.parts.get(part, "") for r in rationales]
        data = file.create_dataset(f"rationales/parts/{name}", data=said, dtype=text)
        if name != part:
            data.attrs["part"] = part
    if others:
        file["rationales/parts"].attrs["order"] = [*RATIONALE_PARTS, *others]


def encode_image(image: UInt8[np.ndarray, "H W 3"] | UInt8[np.ndarray, "H W"], encoding: str, quality: int) -> bytes:
    """The image as a JPEG of ``quality`` without chroma subsampling, or as a lossless PNG."""
    out = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    if encoding == "jpeg":
        picture.save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    elif encoding == "png":
        picture.save(out, "PNG", optimize=True)
    else:
        raise UserError(f"image encoding {encoding!r} is not known; use 'jpeg' or 'png'")
    return out.getvalue()
