"""What an episode file of docs/episode-hdf5.md says about itself, with everything that can be wrong in it named.

Files come from strangers: sizes are bounded before anything is read, and only plain datasets inside the file are
followed, because HDF5's links and external storage could pull in other files of this machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from analysis.episodes.file_bytes import opening
from analysis.types import EpisodeMeta
from models.errors import UserError
from models.types import Rationale

MAX_STEPS = 1_000_000
MAX_COLUMNS = 1_000
MAX_INSTRUCTION_BYTES = 100_000
ENCODINGS = {"jpeg": "image/jpeg", "png": "image/png"}
OWN_ATTRIBUTES = {"format", "version", "id", "instruction", "fps", "success", "task", "robot"}


def read_meta(file: h5py.File, path: Path) -> EpisodeMeta:
    """The episode's description. Raises UserError with one sentence for the first thing that is wrong."""
    _check_format(file, path)
    instruction = text(file.attrs.get("instruction", ""))
    if len(instruction.encode()) > MAX_INSTRUCTION_BYTES:
        raise UserError(
            f"the instruction in {path.name} has {len(instruction.encode()):,} bytes; at most "
            f"{MAX_INSTRUCTION_BYTES:,} are read"
        )
    actions = series(file, "actions", path)
    length = len(actions)
    if length == 0:
        raise UserError(f"{path.name} has zero steps; an episode needs at least one")
    _check_finite(actions, names(file["actions"], "names", path), "actions", path)
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    if "observations/state" in file:
        states = series(file, "observations/state", path)
        _check_length(len(states), length, "/observations/state", path)
        state_names = names(file["observations/state"], "names", path)
        state_units = names(file["observations/state"], "units", path)
        _check_finite(states, state_names, "state", path)
    cameras = _cameras(file, length, path)
    _check_truth(file, length, path)
    success = file.attrs.get("success")
    return EpisodeMeta(
        id=text(file.attrs.get("id", path.stem)) or path.stem,
        source=str(path),
        instruction=instruction,
        length=length,
        fps=_fps(file, path),
        cameras=cameras,
        success=None if success is None else bool(success),
        task=text(file.attrs.get("task", "")),
        robot=text(file.attrs.get("robot", "")),
        action_names=names(file["actions"], "names", path),
        action_units=names(file["actions"], "units", path),
        state_names=state_names,
        state_units=state_units,
        has_rationale=bool(read_rationales(file, length, path)),
        digest=file_digest(path),
        extra={key: text(value) for key, value in file.attrs.items() if key not in OWN_ATTRIBUTES},
    )


def dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """The dataset at ``name``, if it is a plain one that lives in this very file. Raises UserError otherwise."""
    position = file
    for part in name.split("/"):
        if position.get(part, getlink=True) is None:
            raise UserError(f"{path.name} has no /{name}; docs/episode-hdf5.md lists what an episode needs")
        if not isinstance(position.get(part, getlink=True), h5py.HardLink):
            raise UserError(f"/{name} in {path.name} is a link; only data inside the file itself is read")
        position = position[part]
    if not isinstance(position, h5py.Dataset):
        raise UserError(f"/{name} in {path.name} is a group; expected a dataset")
    if position.external or position.is_virtual:
        raise UserError(f"/{name} in {path.name} keeps its data in another file; only data inside the file is read")
    return position


def series(file: h5py.File, name: str, path: Path) -> Float[np.ndarray, "T C"]:
    """A table of numbers over time as float32. Raises UserError if it is anything else, or implausibly large."""
    data = dataset(file, name, path)
    if data.ndim != 2 or data.dtype.kind not in "fiu":
        raise UserError(f"/{name} in {path.name} is {data.dtype} {list(data.shape)}; expected numbers [steps, columns]")
    if data.shape[0] > MAX_STEPS or data.shape[1] > MAX_COLUMNS:
        raise UserError(
            f"/{name} in {path.name} claims {list(data.shape)}; at most [{MAX_STEPS}, {MAX_COLUMNS}] is read"
        )
    for kind in ("names", "units"):
        found = len(names(data, kind, path))
        if found != data.shape[1]:
            raise UserError(f"/{name} in {path.name} has {data.shape[1]} columns and {found} {kind}; expected one each")
    values: np.ndarray = data[()].astype(np.float32)
    return values


def names(data: h5py.Dataset | h5py.Group, kind: str, path: Path) -> tuple[str, ...]:
    """The attribute ``kind`` ("names", "units", "labels") as strings. Raises UserError if it is missing."""
    if kind not in data.attrs:
        raise UserError(f"{data.name} in {path.name} has no attribute {kind!r}; expected a list of strings")
    return tuple(text(value) for value in np.atleast_1d(data.attrs[kind]))


def read_rationales(file: h5py.File, length: int, path: Path) -> tuple[Rationale, ...]:
    """The stored rationales. Raises UserError for one that covers steps which the episode does not have."""
    if "rationales/start" not in file:
        return ()
    starts = dataset(file, "rationales/start", path)[()]
    count = len(starts)
    stops = dataset(file, "rationales/stop", path)[()]
    authors = _texts(file, "rationales/author", path) if "rationales/author" in file else ("",) * count
    parts = {}
    for name in file.get("rationales/parts", ()):
        column = dataset(file, f"rationales/parts/{name}", path)
        parts[text(column.attrs.get("part", name))] = tuple(text(value) for value in column[()])
    if parts and "order" in file["rationales/parts"].attrs:
        order = names(file["rationales/parts"], "order", path)
        parts = {part: parts[part] for part in (*(part for part in order if part in parts), *parts)}
    else:
        parts = ordered(parts)
    for what, column in {"stop": stops, "author": authors, **{f"parts/{k}": v for k, v in parts.items()}}.items():
        _check_length(len(column), count, f"/rationales/{what}", path)
    out = []
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if not 0 <= start < stop <= length:
            raise UserError(f"rationale {index} in {path.name} covers steps [{start}, {stop}) of {length}")
        said = {part: column[index] for part, column in parts.items() if column[index]}
        out.append(Rationale(parts=said, start=int(start), stop=int(stop), author=authors[index]))
    return tuple(out)


def ordered(parts: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The four parts of the teacher's prompt first, in the order of the questions; HDF5 lists them by alphabet."""
    known = ("observation", "situation", "spatial", "planning")
    return {part: parts[part] for part in (*known, *sorted(parts.keys() - set(known))) if part in parts}


def text(value: object) -> str:
    """A stored string as clean UTF-8: h5py hands undecodable bytes on as lone surrogates, which JSON cannot carry."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")


def file_digest(path: Path) -> str:
    """sha256 of the file's bytes, first 16 hex digits."""
    with opening(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _texts(file: h5py.File, name: str, path: Path) -> tuple[str, ...]:
    return tuple(text(value) for value in dataset(file, name, path)[()])


def _check_format(file: h5py.File, path: Path) -> None:
    found = text(file.attrs.get("format", ""))
    if found != "vla-lens-episode":
        said = f"its attribute 'format' is {found!r}" if found else "it has no attribute 'format'"
        raise UserError(f"{path.name} is HDF5 but no VLA Lens episode: {said}, expected 'vla-lens-episode'")
    version = file.attrs.get("version")
    if version != 1:
        raise UserError(f"{path.name} is version {version} of the episode format; this program reads version 1")


def _fps(file: h5py.File, path: Path) -> float:
    try:
        fps = float(file.attrs["fps"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path.name} has no number in its attribute 'fps'; expected frames a second") from None
    if not (np.isfinite(fps) and fps > 0):
        raise UserError(f"{path.name} says {fps} frames a second; expected a positive number")
    return fps


def _cameras(file: h5py.File, length: int, path: Path) -> tuple[str, ...]:
    group = file.get("observations/images")
    found = tuple(sorted(group)) if isinstance(group, h5py.Group) else ()
    if not found:
        raise UserError(f"{path.name} has no images; expected at least one camera under /observations/images")
    for camera in found:
        data = dataset(file, f"observations/images/{camera}", path)
        _check_length(len(data), length, data.name, path)
        if h5py.check_vlen_dtype(data.dtype) != np.uint8 or text(data.attrs.get("encoding")) not in ENCODINGS:
            raise UserError(
                f"{data.name} in {path.name} is no list of encoded images; expected vlen uint8, jpeg or png"
            )
        if not all(isinstance(data.attrs.get(side), np.integer | int) for side in ("height", "width")):
            raise UserError(f"{data.name} in {path.name} does not state its 'height' and 'width' in pixels")
    return found


def _check_truth(file: h5py.File, length: int, path: Path) -> None:
    found = []
    group = file.get("truth")
    for camera in group if isinstance(group, h5py.Group) else ():
        if isinstance(group.get(camera, getclass=True), type) and group.get(camera, getclass=True) is h5py.Group:
            found += [f"truth/{camera}/{kind}" for kind in ("mask", "box") if kind in group[camera]]
    found += [name for name in ("truth/position", "steps/phase") if name in file]
    for name in found:
        _check_length(len(dataset(file, name, path)), length, f"/{name}", path)


def _check_length(found: int, expected: int, what: str, path: Path) -> None:
    if found != expected:
        raise UserError(f"lengths disagree in {path.name}: {what} has {found} entries, expected {expected}")


def _check_finite(values: np.ndarray, columns: tuple[str, ...], what: str, path: Path) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        step, column = (int(index) for index in bad[0])
        raise UserError(
            f"{path.name} has {len(bad)} {what} that are no finite number; the first is {values[step, column]} at step "
            f"{step}, dimension {columns[column]!r}"
        )
