"""Fills a run: predicts every step of an episode that is not on disk yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from analysis.cameras import plan_cameras
from analysis.records import Run, cameras_of, capture_of
from analysis.types import Episode
from models.policy import Policy


def capture_episode(
    policy: Policy,
    episode: Episode,
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    order: Callable[[Collection[int]], int] = min,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[int, ...]:
    """Predicts with what ``run.key`` asks to keep, stores each step at once and returns the steps that it did.

    Steps on disk are skipped, so an interrupted capture resumes. ``order`` picks the next among the steps left, and is
    asked each time: a viewer can ask for what is on screen. ``progress(done, wanted)`` is called before the first step
    and after each; ``cancelled()`` is asked before each. The run is marked complete once the whole episode is there.
    The policy sees the cameras that the key names, else those that `analysis.cameras.plan_cameras` finds.

    Raises UserError for a step that the episode does not have or an observation the policy cannot read.
    """
    if (run.key.checkpoint, run.key.episode) != (policy.info.digest, episode.meta.digest):
        raise ValueError(f"record {run.address} belongs to another checkpoint or episode")
    capture = capture_of(run.key)
    cameras = plan_cameras(policy.info.cameras, episode.meta.cameras, cameras_of(run.key), policy.info.every_camera)
    wanted = set(range(episode.meta.length)) if steps is None else set(steps)
    left = wanted - run.steps_done()
    did: list[int] = []
    while True:
        if progress is not None:
            progress(len(wanted) - len(left), len(wanted))
        if not left or (cancelled is not None and cancelled()):
            break
        step = order(left)
        run.write(step, policy.predict(cameras.seen(episode.step(step).observation), capture))
        did.append(step)
        left.discard(step)
    if run.steps_done() >= set(range(episode.meta.length)) and not run.complete:
        run.finish(episode.meta.length)
    return tuple(did)


def starting_at(step: int) -> Callable[[Collection[int]], int]:
    """An ``order`` that goes from ``step`` to the end and then does what lies before it."""
    return lambda left: min(left, key=lambda candidate: (candidate < step, candidate))
