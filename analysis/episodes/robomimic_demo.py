"""One demonstration of a robomimic or LIBERO file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from analysis.dataset_description import ACTIONS_ARE
from analysis.episodes.finite import without_states
from analysis.episodes.hdf5_guard import Part
from analysis.episodes.hdf5_meta import text
from analysis.episodes.hdf5_plain import check_finite, check_length, group, member, plain, table
from analysis.episodes.hdf5_trajectory import Hdf5Trajectory, check_frames, sample
from analysis.episodes.robomimic_env import RobomimicEnv, action_columns, demo_instruction, read_env, state_columns
from analysis.episodes.splits import in_splits
from analysis.types import EpisodeMeta
from models.errors import UserError

MAX_DEMOS = 100_000
STATE_ORDER = ("eef_pos", "eef_quat", "ee_states", "ee_pos", "ee_ori", "gripper", "joint_pos", "joint_states")
LIBERO = {"agentview_rgb", "eye_in_hand_rgb", "ee_states"}  # by which its files are known without attributes
FRAME_KEY = re.compile(r"_(image|rgb)$")


def demo_names(data: h5py.Group) -> tuple[str, ...]:
    """The demonstrations in numeric order: demo_2 before demo_10."""
    found = islice((name for name in data if name.startswith("demo")), MAX_DEMOS)
    return tuple(sorted(found, key=lambda name: ([int(n[-18:]) for n in re.findall(r"\d+", name)], name)))


def filters(file: h5py.File, path: Path) -> Mapping[str, frozenset[str]]:
    """The filter masks: name -> demonstrations. Raises UserError for a mask that is no list of names."""
    masks = member(file, "mask", path.name)
    if not isinstance(masks, h5py.Group):
        return {}
    out = {}
    for name in islice(masks, 1000):
        data = plain(file, f"mask/{name}", path.name)
        if data.ndim != 1 or len(data) > MAX_DEMOS or data.dtype.kind not in "SO":
            raise UserError(f"/mask/{name} in {path.name} is {data.dtype} {list(data.shape)}; expected a list of names")
        out[name] = frozenset(text(value) for value in data[()])
    return out


def demo_part(demo: str, rows: bool = False) -> Part:
    """What of a file is read for one demonstration."""
    return Part(below=(f"data/{demo}", "mask"), rows=rows)


def read_demo(file: h5py.File, demo: str, id: str, path: Path, stamp: tuple[int, int]) -> Hdf5Trajectory:
    """The episode without its frames. Raises UserError with one sentence for the first thing that is wrong."""
    where = f"{demo} in {path.name}"
    base = f"data/{demo}"
    env = read_env(group(file, "data", path.name), path)
    actions = table(file, f"{base}/actions", where)
    if not len(actions):
        raise UserError(f"{where} has zero steps; an episode needs at least one")
    names, units = action_columns(actions.shape[1], env.absolute)
    check_finite(actions, names, "actions", where)
    observations = group(file, f"{base}/obs", where)
    env = env.as_libero(path) if set(islice(observations, 1000)) >= LIBERO else env
    frames = _frames(file, observations, base, len(actions), where)
    states, state_names, state_units = _states(file, observations, base, len(actions), where)
    if lost := without_states(states, state_names):
        states, state_names, state_units = None, (), ()
    instruction = demo_instruction(file[base], path) or env.instruction
    meta = EpisodeMeta(
        id=id,
        source=str(path),
        instruction=instruction,
        length=len(actions),
        fps=env.fps,
        cameras=tuple(frames),
        success=_success(file, base, len(actions), where),
        task=env.name,
        robot=env.robot,
        action_names=names,
        action_units=units,
        state_names=state_names,
        state_units=state_units,
        digest=_digest(file, frames, actions, states, f"{id.rpartition('/')[2]} {instruction}"),
        extra=_extra(file, demo, observations, frames, env, path) | lost,
    )
    return Hdf5Trajectory(meta, actions, states, frames, env.upside_down, stamp, part=demo_part(demo))


def _frames(file: h5py.File, observations: h5py.Group, base: str, length: int, where: str) -> dict[str, str]:
    """Camera -> dataset. A camera is named after its key, without ``_image`` or ``_rgb`` where that stays unique."""
    keys = [key for key in islice(observations, 1000) if FRAME_KEY.search(key) or _is_pictures(observations, key)]
    short = [FRAME_KEY.sub("", key) for key in keys]
    out = {}
    for key, camera in zip(keys, short, strict=True):
        data = plain(file, f"{base}/obs/{key}", where)
        check_frames(data, where)
        check_length(len(data), length, data.name, where)
        out[camera if short.count(camera) == 1 else key] = f"{base}/obs/{key}"
    if not out:
        raise UserError(
            f"{where} has no images; expected /{base}/obs/<camera>_image, which robomimic's dataset_states_to_obs.py "
            "renders when it is given --camera_names"
        )
    return out


def _is_pictures(observations: h5py.Group, key: str) -> bool:
    """Frames under a name of their own, such as table_cam; no depth map, which has one channel or is no uint8."""
    if not isinstance(observations.get(key, getlink=True), h5py.HardLink):
        return False
    data = observations[key]
    return isinstance(data, h5py.Dataset) and data.ndim == 4 and data.shape[3] == 3 and data.dtype == np.uint8


def _states(
    file: h5py.File, observations: h5py.Group, base: str, length: int, where: str
) -> tuple[Float[np.ndarray, "T S"] | None, tuple[str, ...], tuple[str, ...]]:
    """Pose, gripper and joints, in this order, of each robot; what says the same twice is taken once."""
    parts: list[np.ndarray] = []
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    for key in _state_keys(observations):
        data = plain(file, f"{base}/obs/{key}", where)
        columns = state_columns(key, data.shape[1]) if data.ndim == 2 else None
        if columns is None:
            continue
        values = table(file, f"{base}/obs/{key}", where)
        check_length(len(values), length, f"/{base}/obs/{key}", where)
        parts.append(values)
        names, units = names + columns[0], units + columns[1]
    return (np.concatenate(parts, axis=1) if parts else None), names, units


def _state_keys(observations: h5py.Group) -> list[str]:
    keys = [key for key in islice(observations, 1000) if state_order(key) is not None]
    if "ee_states" in keys:
        keys = [key for key in keys if key not in ("ee_pos", "ee_ori")]
    return sorted(keys, key=lambda key: (state_order(key), key))


def state_order(key: str) -> tuple[str, int] | None:
    """Where a proprioceptive observation stands among the others: by robot, then pose, gripper, joints."""
    robot, rest = (found[0], key[len(found[0]) :]) if (found := re.match(r"robot\d+_", key)) else ("", key)
    if rest in ("gripper_qpos", "gripper_states"):
        rest = "gripper"
    return (robot, STATE_ORDER.index(rest)) if rest in STATE_ORDER else None


def _success(file: h5py.File, base: str, length: int, where: str) -> bool | None:
    """A reward of one, which both projects give for a solved task, at any step.

    ``dones`` also mark the mere end of a recording; they tell success only where there are no rewards.
    """
    for name in ("rewards", "dones"):
        if member(file, f"{base}/{name}", where) is not None:
            values = table(file, f"{base}/{name}", where)
            check_length(len(values), length, f"/{base}/{name}", where)
            reached = bool((values >= 1).any())
            return reached if name == "rewards" or reached else None
    return None


def _digest(
    file: h5py.File, frames: Mapping[str, str], actions: np.ndarray, states: np.ndarray | None, said: str
) -> str:
    """Over all numbers and a sample of the pixels: a whole file of gigabytes is not read for its list."""
    digest = hashlib.sha256(said.encode("utf-8", "replace"))
    digest.update(actions.tobytes())
    digest.update(b"" if states is None else states.tobytes())
    for camera, name in frames.items():
        digest.update(f"{camera} {file[name].shape}".encode("utf-8", "replace"))
        digest.update(sample(file[name]))
    return digest.hexdigest()[:16]


def _extra(
    file: h5py.File,
    demo: str,
    observations: h5py.Group,
    frames: Mapping[str, str],
    env: RobomimicEnv,
    path: Path,
) -> dict[str, str]:
    used = {name.rpartition("/")[2] for name in frames.values()} | set(_state_keys(observations))
    others = [key for key in islice(observations, 1000) if key not in used]
    out = {
        ACTIONS_ARE: "absolute" if env.absolute else "relative",
        "layout": "LIBERO" if env.is_libero else "robomimic",
        "other observations": ", ".join(others),
        "frames": "stored upside down, shown upright" if env.upside_down else "",
    }
    masks = in_splits(name for name, demos in filters(file, path).items() if demo in demos)
    return {key: value for key, value in out.items() if value} | masks
