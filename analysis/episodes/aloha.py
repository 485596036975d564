"""Episodes of ALOHA and its kin: one HDF5 file each (docs/episode-foreign-hdf5.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from analysis.dataset_description import ACTIONS_ARE
from analysis.episodes.finite import without_states
from analysis.episodes.hdf5_file import check_inside, hdf5_files, name_of, named, stamp
from analysis.episodes.hdf5_guard import Part
from analysis.episodes.hdf5_layout import layout
from analysis.episodes.hdf5_meta import text
from analysis.episodes.hdf5_plain import check_finite, check_length, group, member, plain, reading_foreign, table
from analysis.episodes.hdf5_trajectory import Hdf5Trajectory, check_frames, sample
from analysis.episodes.source import BrokenEpisode
from analysis.types import EpisodeMeta
from models.errors import UserError

RATE = 50.0  # Hz, of every ALOHA recording; files do not say it
ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
ARM_UNITS = ("rad",) * 6 + ("open",)
INSTRUCTIONS = ("language_instruction", "instruction", "language_raw", "task")  # where relatives of ALOHA keep words
MAX_INSTRUCTION_BYTES = 100_000


LISTED = Part(rows=True)  # what of a file is tried for the list; opening it tries all


class AlohaSource:
    """A file, or every such file in and below a folder. Ids are paths without suffix, as in ``episode_3``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def handles(cls, path: Path) -> bool:
        return layout(path) == "aloha"

    def scan(self) -> Iterator[EpisodeMeta | BrokenEpisode]:
        """Reads actions and joint positions, no whole frame."""
        taken: dict[str, Path] = {}
        for path in hdf5_files(self.root):
            try:
                check_inside(path, self.root)
                id = name_of(path, self.root)
                if id in taken:
                    raise UserError(f"{path.name} has the name of {taken[id].name} but for the suffix; rename one")
                taken[id] = path
                yield _read_meta(path, id, stamp(path))
            except UserError as error:
                yield BrokenEpisode(str(path), str(error))

    def open(self, id: str) -> Hdf5Trajectory:
        path = named(id, self.root)
        before = stamp(path)
        with reading_foreign(path) as file:
            return _read(file, id, path, before)


@lru_cache(maxsize=4096)
def _read_meta(path: Path, id: str, stamp: tuple[int, int]) -> EpisodeMeta:
    """Kept by size and modification time, so that listing again costs a stat for each file."""
    with reading_foreign(path, LISTED) as file:
        return _read(file, id, path, stamp).meta


def _read(file: h5py.File, id: str, path: Path, stamp: tuple[int, int]) -> Hdf5Trajectory:
    where = path.name
    actions = table(file, "action", where)
    if not len(actions):
        raise UserError(f"{where} has zero steps; an episode needs at least one")
    if member(file, "base_action", where) is not None:  # Mobile ALOHA's own reader puts it behind the arms'
        base = table(file, "base_action", where)
        check_length(len(base), len(actions), "/base_action", where)
        actions = np.concatenate([actions, base], axis=1)
    names, units = _columns(actions.shape[1], "action")
    check_finite(actions, names, "actions", where)
    states, state_names, state_units = _states(file, len(actions), where)
    if lost := without_states(states, state_names):
        states, state_names, state_units = None, (), ()
    frames = _frames(file, len(actions), where)
    meta = EpisodeMeta(
        id=id,
        source=str(path),
        instruction=_instruction(file, where),
        length=len(actions),
        fps=RATE,
        cameras=tuple(frames),
        success=None,
        robot="ALOHA, simulated" if bool(np.any(file.attrs.get("sim", False))) else "ALOHA",
        action_names=names,
        action_units=units,
        state_names=state_names,
        state_units=state_units,
        digest=_digest(file, frames, actions, states),
        extra={ACTIONS_ARE: "absolute"} | _extra(file) | lost,
    )
    return Hdf5Trajectory(meta, actions, states, frames, upside_down=False, stamp=stamp)


def _columns(count: int, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fourteen columns are the left and the right arm; more are a mobile base's; another number is numbered."""
    if count == 2 * len(ARM) or count == 2 * len(ARM) + 2:
        base = ("base_linear", "base_angular") if count > 2 * len(ARM) else ()
        names = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ARM) + base
        return names, 2 * ARM_UNITS + (("m/s", "rad/s") if base else ())
    return tuple(f"{what}_{index}" for index in range(count)), ("",) * count


def _states(
    file: h5py.File, length: int, where: str
) -> tuple[Float[np.ndarray, "T S"] | None, tuple[str, ...], tuple[str, ...]]:
    if member(file, "observations/qpos", where) is None:
        return None, (), ()
    states = table(file, "observations/qpos", where)
    check_length(len(states), length, "/observations/qpos", where)
    names, units = _columns(states.shape[1], "qpos")
    return states, names, units


def _frames(file: h5py.File, length: int, where: str) -> dict[str, str]:
    images = group(file, "observations/images", where)
    out = {camera: f"observations/images/{camera}" for camera in islice(images, 100) if not camera.endswith("_depth")}
    for name in out.values():
        data = plain(file, name, where)
        check_frames(data, where)
        check_length(len(data), length, data.name, where)
    if not out:
        raise UserError(f"{where} has no images; expected at least one camera under /observations/images")
    return out


def _instruction(file: h5py.File, where: str) -> str:
    """ALOHA's own files carry no words; relatives keep them as an attribute or a dataset. Empty if there are none."""
    for name in INSTRUCTIONS:
        if name in file.attrs:
            said = text(file.attrs[name])
        elif isinstance(member(file, name, where), h5py.Dataset):
            data = plain(file, name, where)
            if data.dtype.kind not in "SO" or data.size not in range(1, 10_000):
                continue
            said = text(np.ravel(data[()])[0])
        else:
            continue
        if len(said.encode()) > MAX_INSTRUCTION_BYTES:
            raise UserError(f"the instruction in {where} has {len(said):,} characters; that is implausibly long")
        return said
    return ""


def _digest(file: h5py.File, frames: Mapping[str, str], actions: np.ndarray, states: np.ndarray | None) -> str:
    """Over all numbers and a sample of the pixels: a file of a gigabyte is not read for its list."""
    digest = hashlib.sha256(actions.tobytes())
    digest.update(b"" if states is None else states.tobytes())
    for camera, name in frames.items():
        digest.update(f"{camera} {file[name].shape}".encode("utf-8", "replace"))
        digest.update(sample(file[name]))
    return digest.hexdigest()[:16]


def _extra(file: h5py.File) -> dict[str, str]:
    return {
        key: said
        for key in islice(file.attrs, 50)
        if key not in INSTRUCTIONS and len(said := text(file.attrs[key])) < 1000
    }
