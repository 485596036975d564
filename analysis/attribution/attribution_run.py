"""Attribution of every step of an episode, kept as a record: found again by what was asked, never computed twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from analysis.attribution.attribution_file import read_attribution, write_attribution
from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.features import SeenObject
from analysis.attribution.method import AttributionMethod
from analysis.attribution.registry import method_class
from analysis.attribution.settings import settings_of, with_settings
from analysis.attribution.target import Target
from analysis.cameras import CameraPlan, plan_cameras
from analysis.cancelled import Asked, Progress, check
from analysis.records import Run, RunKey, Setting, cameras_of
from analysis.types import Episode, Step
from models.errors import UserError
from models.policy import Policy
from models.types import Prediction

PREFIX = "attribution:"
FINE = 100  # parts that a step's progress is told in


def attribution_key(
    checkpoint: str, episode: str, method: AttributionMethod, target: Target, **told: Setting
) -> RunKey:
    """The key of an attribution run. ``told``: as `analysis.records.capture_key` takes it."""
    asked: dict[str, Setting] = {"target": target.stored(), "method": dict(settings_of(method))}
    given = {name: value for name, value in told.items() if value is not None}
    return RunKey(checkpoint, episode, method=PREFIX + method.name, settings=asked | given)


def method_of(key: RunKey) -> AttributionMethod:
    """The method that a key names, with its settings. Raises ValueError for the key of something else."""
    settings = key.settings.get("method")
    if not key.method.startswith(PREFIX) or not isinstance(settings, dict):
        raise ValueError(f"a record of method {key.method!r} is no attribution")
    return with_settings(method_class(key.method.removeprefix(PREFIX)), settings)


def target_of(key: RunKey) -> Target:
    """The target that a key names."""
    stored = key.settings["target"]
    if not isinstance(stored, dict):
        raise ValueError(f"the settings {key.settings} are not those of an attribution")
    return Target.read(stored)


def attribute_episode(
    policy: Policy,
    episode: Episode,
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    predictions: Run | None = None,
    progress: Progress | None = None,
    cancelled: Asked | None = None,
) -> tuple[int, ...]:
    """Explains with what ``run.key`` asks, stores each step at once and returns the steps that it did.

    Steps on disk are skipped, so an interrupted run resumes. ``predictions``: a capture run of the same checkpoint and
    episode, whose steps need not be predicted again. ``progress(done, total)`` counts in parts of a step. The run is
    marked complete once the whole episode is there.
    Raises Cancelled once ``cancelled()``; whole steps stay. Raises UserError where the method cannot run on the policy.
    """
    if (run.key.checkpoint, run.key.episode) != (policy.info.digest, episode.meta.digest):
        raise ValueError(f"record {run.address} belongs to another checkpoint or episode")
    method, target = method_of(run.key), target_of(run.key)
    if (reason := method.why_not(policy)) is not None:
        raise UserError(f"{method.title} cannot run here: {reason}")
    cameras = plan_cameras(policy.info.cameras, episode.meta.cameras, cameras_of(run.key), policy.info.every_camera)
    wanted = sorted(set(range(episode.meta.length)) if steps is None else set(steps))
    left = [step for step in wanted if step not in run.steps_done()]
    total = len(wanted) * FINE
    for number, step in enumerate(left):
        check(cancelled)
        before = (len(wanted) - len(left) + number) * FINE
        inner = None if progress is None else _within(progress, before, total)
        explain_step(policy, episode, run, step, method, target, cameras, predictions, inner, cancelled)
    if progress is not None:
        progress(total, total)
    if run.steps_done() >= set(range(episode.meta.length)) and not run.complete:
        run.finish(episode.meta.length)
    return tuple(left)


def explain_step(
    policy: Policy,
    episode: Episode,
    run: Run,
    step: int,
    method: AttributionMethod,
    target: Target,
    cameras: CameraPlan,
    predictions: Run | None = None,
    progress: Progress | None = None,
    cancelled: Asked | None = None,
) -> AttributionMap:
    """One step's map, computed now and stored."""
    here = episode.step(step)
    ready = with_objects(method, here, cameras)
    found = ready(
        policy,
        cameras.seen(here.observation),
        target,
        prediction=_stored(predictions, step),
        progress=progress,
        cancelled=cancelled,
    )
    run.write_with(step, lambda path: write_attribution(path, found))
    return found


def read_step(run: Run, step: int) -> AttributionMap:
    """The stored map of a step. Raises UserError if it is not there or damaged."""
    return read_attribution(run.captured_path(step))


def with_objects(method: AttributionMethod, step: Step, cameras: CameraPlan) -> AttributionMethod:
    """The method with the objects of this step, under the policy's names of the cameras, where it asks for them."""
    fields: tuple[Any, ...] = dataclasses.fields(method)  # type: ignore[arg-type]
    if not any("from_step" in field.metadata for field in fields):
        return method
    names = {camera: name for name, camera in cameras.pairs}
    seen = tuple(
        SeenObject(names[camera], thing.name, thing.box, thing.mask)
        for camera, things in step.objects.items()
        for thing in things
        if camera in names and (thing.box is not None or thing.mask is not None)
    )
    found: AttributionMethod = dataclasses.replace(method, seen=seen)  # type: ignore[type-var]
    return found


def _stored(predictions: Run | None, step: int) -> Prediction | None:
    if predictions is None or step not in predictions.steps_done():
        return None
    return predictions.read(step)


def _within(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, of: progress(before + (done * FINE // of if of else 0), total)
