"""Stretches of an episode as teachers are shown them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from analysis.rationales.keyframes import keyframes
from analysis.rationales.motion import action_kind
from analysis.types import Episode, Step
from models.errors import UserError
from models.teachers.teacher import Clip, ClipFrame


class Per(StrEnum):
    """What gets a rationale of its own."""

    STEP = "step"
    KEYFRAME = "keyframe"  # from one phase change to the next
    TRAJECTORY = "trajectory"


def stretches(episode: Episode, per: Per) -> tuple[tuple[int, int], ...]:
    """Steps [start, stop) of every rationale, covering the episode without gap or overlap."""
    length = episode.meta.length
    match per:
        case Per.STEP:
            starts: tuple[int, ...] = tuple(range(length))
        case Per.KEYFRAME:
            starts = keyframes(episode)
        case Per.TRAJECTORY:
            starts = (0,)
    return tuple(zip(starts, (*starts[1:], length), strict=True))


def clip(episode: Episode, start: int, stop: int, cameras: tuple[str, ...], pictures: int) -> Clip:
    """Steps [start, stop) with at most ``pictures`` moments of them, evenly spread, from every camera named."""
    meta = episode.meta
    if absent := [camera for camera in cameras if camera not in meta.cameras]:
        raise UserError(f"episode {meta.id!r} has no camera {absent[0]!r}; its cameras are {', '.join(meta.cameras)}")
    first = episode.step(start)
    count = min(pictures, stop - start)
    steps = sorted({int(step) for step in np.linspace(start, stop - 1, count).round()}) if count > 1 else [start]
    frames = tuple(ClipFrame(camera, step, episode.frame(camera, step)) for step in steps for camera in cameras)
    return Clip(
        episode=meta.id,
        instruction=first.observation.instruction,
        start=start,
        stop=stop,
        frames=frames,
        actions=np.asarray(episode.actions[start:stop]),
        action_names=meta.action_names,
        action_units=meta.action_units,
        actions_are=action_kind(episode),
        state=None if first.observation.state is None else np.asarray(first.observation.state),
        state_names=meta.state_names,
        state_units=meta.state_units,
        task=meta.task,
        phase=first.phase,
        objects=_objects(first),
    )


def _objects(step: Step) -> Mapping[str, np.ndarray | None] | None:
    """What is known to be in view, from all cameras; None where no camera says anything."""
    if not step.objects:
        return None
    return {seen.name: seen.position for found in step.objects.values() for seen in found}
