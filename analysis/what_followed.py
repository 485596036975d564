"""What the robot did from a moment on, in numbers: a rationale is judged by what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.types import Episode

LEAST_STEPS = 8  # of the clip
LEAST_SECONDS = 2.0
NOTABLE = 0.1  # of the range that a value has in the episode
MAX_NAMED = 6


@dataclass(frozen=True)
class Window:
    """Steps [start, stop) that a rationale covers, and [start, end) that are shown of it: what came next too."""

    start: int
    stop: int
    end: int


@dataclass(frozen=True)
class Change:
    """A value of the robot's state at the first and after the last step shown."""

    name: str
    unit: str
    before: float
    after: float


def clip_window(start: int, stop: int, length: int, fps: float) -> Window:
    """At least two seconds and eight steps from ``start``, as far as the episode of ``length`` steps goes."""
    start = max(0, min(start, length - 1))
    stop = max(start + 1, min(stop, length))
    seconds = math.ceil(LEAST_SECONDS * fps) if math.isfinite(fps) and 0 < fps < 1000 else 0
    return Window(start, stop, min(length, max(stop, start + max(LEAST_STEPS, seconds))))


def state_changes(episode: Episode, window: Window) -> tuple[Change, ...]:
    """The values that changed most, relative to their range in the episode, over the steps shown; () without states."""
    states = episode.states
    if states is None or not len(states):
        return ()
    values = np.asarray(states, np.float64)
    before, after = values[window.start], values[min(window.end, len(values)) - 1]
    spread = np.ptp(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(spread > 0, np.abs(after - before) / spread, 0.0)
    names, units = episode.meta.state_names, episode.meta.state_units
    order = [int(i) for i in np.argsort(-share, kind="stable") if np.isfinite(share[i]) and share[i] >= NOTABLE]
    return tuple(
        Change(_at(names, i, f"state {i}"), _at(units, i, ""), float(before[i]), float(after[i]))
        for i in sorted(order[:MAX_NAMED])
    )


def phases(episode: Episode, window: Window) -> tuple[str, ...]:
    """Names of the phases of the steps shown, in order, where the episode has them."""
    picked = np.unique(np.linspace(window.start, window.end - 1, min(12, window.end - window.start)).astype(int))
    return tuple(dict.fromkeys(phase for step in picked if (phase := episode.step(int(step)).phase)))


def _at(names: Sequence[str], index: int, otherwise: str) -> str:
    return names[index] if index < len(names) and names[index] else otherwise
