"""What the attributes of a robomimic or LIBERO file say about the environment, the instruction and the columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from analysis.episodes.hdf5_meta import text
from models.errors import UserError

MAX_JSON = 2_000_000  # characters
DEFAULT_RATE = 20.0  # Hz: robosuite's own, and what both projects record with
POSE = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
QUATERNION = ("qx", "qy", "qz", "qw")
SCENE = re.compile(r"^(?:[A-Z0-9]+_)*SCENE\d+_")


@dataclass(frozen=True)
class RobomimicEnv:
    """Everything that holds for all demonstrations of a file."""

    name: str
    robot: str
    instruction: str  # empty: a task without words
    fps: float  # frames and actions a second
    is_libero: bool
    upside_down: bool  # frames are stored with the lowest row first
    absolute: bool  # actions are poses in metres and radians, not increments scaled to [-1, 1]

    def as_libero(self, path: Path) -> RobomimicEnv:
        """The same for a file that has LIBERO's observations but lost its attributes, as filtered copies have."""
        if self.is_libero:
            return self
        return replace(self, is_libero=True, upside_down=True, instruction=self.instruction or words_of(path))


def read_env(data: h5py.Group, path: Path) -> RobomimicEnv:
    """From the attributes of ``/data``. Raises UserError for JSON that is none, or a rate that cannot be."""
    args = _json(data, "env_args", path)
    problem = _json(data, "problem_info", path)
    settings = _mapping(args.get("env_kwargs"))
    is_libero = bool(problem) or "bddl_file_name" in data.attrs
    convention = text(data.attrs.get("macros_image_convention", "opengl"))
    robots = settings.get("robots", "")
    return RobomimicEnv(
        name=str(args.get("env_name") or text(data.attrs.get("env_name", "")) or text(data.attrs.get("env", ""))),
        robot=", ".join(map(str, robots)) if isinstance(robots, list) else str(robots),
        instruction=_instruction(problem, path) if is_libero else str(args.get("lang") or ""),
        fps=_rate(settings.get("control_freq", DEFAULT_RATE), path),
        is_libero=is_libero,
        upside_down=is_libero and convention == "opengl",
        absolute=_absolute(settings.get("controller_configs")),
    )


def demo_instruction(demo: h5py.Group, path: Path) -> str:
    """The words of one demonstration (``ep_meta``, as RoboCasa writes it); empty where there are none."""
    return str(_json(demo, "ep_meta", path).get("lang") or "")


def words_of(path: Path) -> str:
    """The instruction in a LIBERO file's name: KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5 -> turn on the stove."""
    return " ".join(SCENE.sub("", path.stem.removesuffix("_demo")).replace("_", " ").split())


def action_columns(count: int, absolute: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units. Seven columns are one arm's pose and gripper, fourteen two arms'; others are numbered."""
    arm = ("m",) * 3 + ("rad",) * 3 if absolute else ("normalised",) * 6
    units = (*arm, "closed")
    if count == len(POSE):
        return POSE, units
    if count == 2 * len(POSE):
        return tuple(f"robot{arm}_{name}" for arm in (0, 1) for name in POSE), 2 * units
    return tuple(f"action_{index}" for index in range(count)), ("normalised",) * count


def state_columns(key: str, count: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Names and units of a proprioceptive observation; None for an observation that is none of the robot's own."""
    robot = key[: key.index("_") + 1] if re.match(r"^robot\d+_", key) else ""
    rest = key[len(robot) :]
    known = {
        ("eef_pos", 3): (("x", "y", "z"), ("m",) * 3),
        ("ee_pos", 3): (("x", "y", "z"), ("m",) * 3),
        ("eef_quat", 4): (QUATERNION, ("",) * 4),
        ("ee_ori", 3): (("rx", "ry", "rz"), ("rad",) * 3),
        ("ee_states", 6): (("x", "y", "z", "rx", "ry", "rz"), ("m",) * 3 + ("rad",) * 3),
    }
    if (rest, count) in known:
        names, units = known[rest, count]
    elif rest in ("gripper_qpos", "gripper_states"):
        names, units = tuple(f"gripper_{index}" for index in range(count)), ("m",) * count
    elif rest in ("joint_pos", "joint_states"):
        names, units = tuple(f"joint_{index}" for index in range(count)), ("rad",) * count
    else:
        return None
    return (tuple(f"{robot}{name}" for name in names) if robot not in ("", "robot0_") else names), units


def _instruction(problem: Mapping[str, Any], path: Path) -> str:
    said = problem.get("language_instruction")
    if isinstance(said, list):  # some files hold it letter by letter or word by word
        said = ("" if all(len(str(part)) == 1 for part in said) else " ").join(map(str, said))
    return str(said or "").strip().strip('"') or words_of(path)


def _rate(found: object, path: Path) -> float:
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < 10_000:
        raise UserError(f"{path.name} says a control_freq of {found!r}; expected a positive number of steps a second")
    return float(found)


def _absolute(controller: object) -> bool:
    """Whether a robosuite controller takes poses; since its version 1.5 the arms stand under ``body_parts``."""
    config = controller[0] if isinstance(controller, list) and controller else controller
    parts = _mapping(_mapping(config).get("body_parts"))
    arms = [_mapping(part) for part in parts.values()] or [_mapping(config)]
    return any(arm.get("control_delta") is False or arm.get("input_type") == "absolute" for arm in arms)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(item: h5py.Group, name: str, path: Path) -> Mapping[str, Any]:
    if name not in item.attrs:
        return {}
    written = text(item.attrs[name])
    if len(written) > MAX_JSON:
        raise UserError(f"the attribute {name!r} in {path.name} has {len(written):,} characters; at most {MAX_JSON:,}")
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        raise UserError(f"the attribute {name!r} of {item.name} in {path.name} is no JSON: {written[:40]!r}") from None
    return _mapping(found)
