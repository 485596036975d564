"""Where one phase of a trajectory ends and the next begins, found from the gripper and the tool's velocity alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from analysis.types import Episode

SLOW = 0.5  # of the median speed: slower is a pause between two movements
SHORTEST = 3  # steps of a phase that the velocity alone tells


def keyframes(episode: Episode) -> tuple[int, ...]:
    """First steps of the phases, 0 first, ascending.

    A phase begins where the gripper is told to open or close, and at the slowest step of a pause: a local minimum of
    the tool's speed below half of its median, at least three steps from the neighbouring keyframes.
    """
    length = episode.meta.length
    gripper = _gripper(episode)
    flips = [] if gripper is None else [int(step) for step in np.flatnonzero(np.diff(gripper.astype(int))) + 1]
    found = sorted({0, *flips})
    speed = _speed(episode)
    pauses = [] if speed is None else _pauses(speed)
    for step in pauses:
        if all(abs(step - other) >= SHORTEST for other in found) and length - step >= SHORTEST:
            found = sorted({*found, step})
    return tuple(step for step in found if step < length)


def _gripper(episode: Episode) -> np.ndarray | None:
    """Whether the gripper is told to be open (or closed) at each step, bool [T]; None where no dimension is called so.

    Some data sets write the command as a position, others as an impulse that is zero most of the time.
    """
    names = [name.lower() for name in episode.meta.action_names]
    column = next((i for i, name in enumerate(names) if "grip" in name), None)
    if column is None or column >= episode.actions.shape[1]:
        return None
    values = np.asarray(episode.actions[:, column], dtype=float)
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return None
    if low < 0 < high and np.mean(np.abs(values) < 1e-6) > 0.5:  # impulses: hold the last one
        last = np.maximum.accumulate(np.where(np.abs(values) > 1e-6, np.arange(len(values)), -1))
        return np.asarray((last >= 0) & (values[np.maximum(last, 0)] > 0))
    return np.asarray(values > (low + high) / 2)


def _speed(episode: Episode) -> Float[np.ndarray, " T"] | None:
    """How far the tool is moved at each step, in the units of x, y and z; None where nothing is called so."""
    names = [name.lower() for name in episode.meta.action_names]
    columns = [i for i, name in enumerate(names) if name in ("x", "y", "z", "dx", "dy", "dz")]
    if len(columns) < 2 or episode.actions.shape[1] <= max(columns):
        return None
    return np.asarray(np.linalg.norm(episode.actions[:, columns], axis=1), dtype=float)


def _pauses(speed: Float[np.ndarray, " T"]) -> list[int]:
    """Local minima below half of the median, the first step of each run of equal ones."""
    limit = SLOW * float(np.median(speed))
    out = []
    for step in range(1, len(speed) - 1):
        if speed[step] < limit and speed[step] < speed[step - 1] and speed[step] <= speed[step + 1 :].max():
            rising = speed[step + 1 :][speed[step + 1 :] != speed[step]]
            if len(rising) and rising[0] > speed[step]:
                out.append(step)
    return out
