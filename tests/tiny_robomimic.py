"""Small files as robomimic and LIBERO write them; every value follows from demonstration and step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

STEPS, SIDE = 5, 24


def picture(demo: int, step: int) -> np.ndarray:
    """Upright: a red bar at the top whose length is the step, blue that tells the demonstration."""
    out = np.full((SIDE, SIDE, 3), (0, 0, 10 * demo), np.uint8)
    out[:4, : 4 * (step + 1)] = (250, 0, 0)
    return out


def pictures(demo: int) -> np.ndarray:
    return np.stack([picture(demo, step) for step in range(STEPS)])


def actions(demo: int) -> np.ndarray:
    return np.array([[0.1 * step, -0.2, 0, 0, 0, 0.3, (-1.0) ** step] for step in range(STEPS)]) * (1 + 0.1 * demo)


def numbers(columns: int, demo: int) -> np.ndarray:
    return np.arange(STEPS * columns, dtype=float).reshape(STEPS, columns) + demo


def write_robomimic(
    path: Path, demos: Sequence[int] = (0, 1), solved: bool = True, compression: str | None = None, **env: Any
) -> Path:
    """As robomimic's dataset_states_to_obs.py does, with two cameras."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"robots": ["Panda"], "control_freq": 20, "camera_heights": SIDE, "camera_widths": SIDE} | env
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = STEPS * len(demos)
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": settings})
        for demo in demos:
            group = _demo(data, demo, solved)
            observations = {
                "agentview_image": pictures(demo),
                "robot0_eye_in_hand_image": pictures(demo)[:, :, ::-1],
                "robot0_eef_pos": numbers(3, demo),
                "robot0_eef_quat": numbers(4, demo),
                "robot0_gripper_qpos": numbers(2, demo),
                "robot0_joint_pos": numbers(7, demo),
                "object": numbers(10, demo),
            }
            for name, values in observations.items():
                group.create_dataset(f"obs/{name}", data=values, compression=compression)
        file["mask/train"] = np.array([f"demo_{demo}".encode() for demo in demos[:1]])
        file["mask/valid"] = np.array([f"demo_{demo}".encode() for demo in demos[1:]], dtype="S8")
    return path


def write_libero(path: Path, demos: Sequence[int] = (0, 1), instruction: str | None = "turn on the stove") -> Path:
    """As LIBERO's create_dataset.py does: OpenGL's row order, the instruction in ``problem_info``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        problem = {"problem_name": "libero_kitchen", "domain_name": "robosuite"}
        if instruction is not None:
            problem["language_instruction"] = instruction
        data.attrs["env_name"] = "Libero_Kitchen_Tabletop_Manipulation"
        data.attrs["problem_info"] = json.dumps(problem)
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_name"] = "bddl_files/libero_90/KITCHEN_SCENE3_turn_on_the_stove.bddl"
        data.attrs["env_args"] = json.dumps({"type": 1, "env_kwargs": {"robots": ["Panda"], "control_freq": 20}})
        for demo in demos:
            group = _demo(data, demo, solved=True)
            poses = numbers(6, demo)
            observations = {
                "agentview_rgb": pictures(demo)[:, ::-1],
                "eye_in_hand_rgb": pictures(demo)[:, ::-1, ::-1],
                "ee_states": poses,
                "ee_pos": poses[:, :3],
                "ee_ori": poses[:, 3:],
                "gripper_states": numbers(2, demo),
                "joint_states": numbers(7, demo),
            }
            for name, values in observations.items():
                group[f"obs/{name}"] = values
            group["robot_states"] = numbers(9, demo)
    return path


def _demo(data: h5py.Group, demo: int, solved: bool) -> h5py.Group:
    group = data.create_group(f"demo_{demo}")
    group.attrs["num_samples"] = STEPS
    group["actions"] = actions(demo)
    group["states"] = numbers(20, demo)
    group["rewards"] = np.array([0.0] * (STEPS - 1) + [float(solved)])
    group["dones"] = np.array([0] * (STEPS - 1) + [1])
    return group
