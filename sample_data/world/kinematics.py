"""Where the joints of a six-joint arm have to be for the tool to be somewhere."""

from __future__ import annotations

import mujoco
import numpy as np

DOWN = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])  # rotation of a tool whose x axis points straight down
JOINTS = 6  # the first of the model


def rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll), shape [3, 3]."""
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (np.cos, np.sin))
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])  # fmt: skip


def solve(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    site: int,
    position: np.ndarray,
    turned: np.ndarray,
    start: np.ndarray,
    iterations: int,
) -> tuple[np.ndarray, float]:
    """Joint angles [6] that bring ``site`` to a position [3] and rotation [3, 3], and by how many metres they miss.

    Damped least squares on position and orientation from the angles ``start``; ``data`` is written over.
    """
    low, high = model.jnt_range[:JOINTS, 0], model.jnt_range[:JOINTS, 1]
    data.qpos[:JOINTS] = start
    along, around = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    quat, turn = np.zeros(4), np.zeros(3)
    miss = np.full(3, np.inf)
    for _ in range(iterations):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        miss = position - data.site_xpos[site]
        mujoco.mju_mat2Quat(quat, (turned @ data.site_xmat[site].reshape(3, 3).T).flatten())
        mujoco.mju_quat2Vel(turn, quat, 1.0)
        if np.linalg.norm(miss) < 5e-4 and np.linalg.norm(turn) < 3e-3:
            break
        mujoco.mj_jacSite(model, data, along, around, site)
        jacobian = np.vstack([along[:, :JOINTS], 0.15 * around[:, :JOINTS]])
        error = np.concatenate([miss, 0.15 * turn])
        change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
        data.qpos[:JOINTS] = np.clip(data.qpos[:JOINTS] + np.clip(change, -0.3, 0.3), low, high)
    return data.qpos[:JOINTS].copy(), float(np.linalg.norm(miss))
