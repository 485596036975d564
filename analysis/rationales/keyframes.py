"""Where one phase of a trajectory ends and the next begins, found from the grippers and the velocity alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from analysis.rationales.motion import grippers, speed
from analysis.types import Episode

SLOW = 0.5  # of the median speed: slower is a pause between two movements
SHORTEST = 3  # steps of a phase that the velocity alone tells
TREMBLE = 0.1  # of the way of the gripper that moves most: less is no opening or closing


def keyframes(episode: Episode) -> tuple[int, ...]:
    """First steps of the phases, 0 first, ascending.

    A phase begins where a gripper is told to open or close, and at the slowest step of a pause: a local minimum of
    the speed below half of its median, at least three steps from the neighbouring keyframes.
    """
    length = episode.meta.length
    flips = [int(step) for told in _grippers(episode) for step in np.flatnonzero(np.diff(told.astype(int))) + 1]
    found = sorted({0, *flips})
    moving = speed(episode)
    pauses = [] if moving is None else _pauses(moving)
    for step in pauses:
        if all(abs(step - other) >= SHORTEST for other in found) and length - step >= SHORTEST:
            found = sorted({*found, step})
    return tuple(step for step in found if step < length)


def _grippers(episode: Episode) -> list[np.ndarray]:
    """Whether each gripper is told to be open (or closed) at each step, bool [T]; one that trembles is left out."""
    columns = [np.asarray(episode.actions[:, column], dtype=float) for column in grippers(episode)]
    widest = max((float(np.ptp(values)) for values in columns), default=0.0)
    return [_told(values) for values in columns if np.ptp(values) > max(TREMBLE * widest, 1e-6)]


def _told(values: Float[np.ndarray, " T"]) -> np.ndarray:
    """Some data sets write the command as a position, others as an impulse that is zero most of the time."""
    low, high = float(values.min()), float(values.max())
    if low < 0 < high and np.mean(np.abs(values) < 1e-6) > 0.5:  # impulses: hold the last one
        last = np.maximum.accumulate(np.where(np.abs(values) > 1e-6, np.arange(len(values)), -1))
        return np.asarray((last >= 0) & (values[np.maximum(last, 0)] > 0))
    return np.asarray(values > (low + high) / 2)


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
