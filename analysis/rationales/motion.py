"""How an episode moves, as far as its actions tell: increments and targets are read in different ways."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Float

from analysis.dataset_description import ACTION_KINDS, ACTIONS_ARE
from analysis.types import Episode

AXES = {"x", "y", "z", "dx", "dy", "dz"}
TURNS = ("rot", "ori", "axis", "quat", "ang")  # in a name: what turns about an axis does not move along it
JOINTS = ("waist", "shoulder", "elbow", "wrist", "joint")
RATES = ("vel", "delta", "effort", "torque")  # in a name: the number is no position
CLEARLY = 4.0  # times closer to one reading of the actions than to the other


def action_kind(episode: Episode) -> str:
    """``relative`` (increments), ``absolute`` (targets, such as joint positions), or empty: nothing tells.

    What description or file say counts; then what the recorded state does after an action; then the names of joints.
    """
    said = episode.meta.extra.get(ACTIONS_ARE, "")
    if said in ACTION_KINDS:
        return said
    names = [name.lower() for name in episode.meta.action_names]
    joints = any(word in name for name in names for word in JOINTS)
    rates = any(word in name for name in names for word in RATES)
    return _measured(episode) or ("absolute" if joints and not rates else "")


def speed(episode: Episode) -> Float[np.ndarray, " T"] | None:
    """How far the tool, or where no axes are named the arm, is told to move at each step; None: nothing tells."""
    kind, columns = action_kind(episode), _moving(episode)
    if not kind or not columns:
        return None
    moved = np.asarray(episode.actions[:, columns], dtype=float)
    if kind == "absolute":
        if len(moved) < 2:
            return None
        moved = np.diff(moved, axis=0)
        moved = np.concatenate([moved[:1], moved])  # from where it came to the first target is not known
    return np.asarray(np.linalg.norm(moved, axis=1), dtype=float)


def grippers(episode: Episode) -> list[int]:
    """Columns of the actions that are named after a gripper."""
    names = episode.meta.action_names
    return [i for i, name in enumerate(names) if "grip" in name.lower() and i < episode.actions.shape[1]]


def _moving(episode: Episode) -> list[int]:
    """The axes along which the tool moves; else every column that is no gripper, nor a speed."""
    count = episode.actions.shape[1]
    names = [name.lower() for name in episode.meta.action_names[:count]]
    axes = [
        i
        for i, name in enumerate(names)
        if re.split(r"[_ .]", name)[-1] in AXES and not any(word in name for word in TURNS)
    ]
    if len(axes) >= 2:
        return axes
    units = episode.meta.action_units
    other = {*grippers(episode), *(i for i, unit in enumerate(units) if unit.endswith("/s"))}
    return [i for i in range(count) if i not in other]


def _measured(episode: Episode) -> str:
    """Whether the state that follows an action is the action, or the state before and the action together."""
    meta, states = episode.meta, episode.states
    if states is None or len(states) < 2 or len(meta.action_names) != episode.actions.shape[1]:
        return ""
    named = [(i, meta.action_names[i]) for i in _moving(episode)]
    shared = [(i, meta.state_names.index(name)) for i, name in named if name in meta.state_names]
    if not shared:
        return ""
    acted, stood = [i for i, _ in shared], [j for _, j in shared]
    actions = np.asarray(episode.actions[:-1, acted], dtype=float)
    before, after = np.asarray(states[:-1, stood], dtype=float), np.asarray(states[1:, stood], dtype=float)
    as_target, as_increment = (float(np.abs(actions - read).mean()) for read in (after, after - before))
    if as_target * CLEARLY < as_increment:
        return "absolute"
    return "relative" if as_increment * CLEARLY < as_target else ""
