"""Figures out of records: what a run says about a step, and a whole stretch of an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.attribution.attribution_run import PREFIX, read_step
from analysis.cameras import plan_cameras
from analysis.pictures.figure import Figure
from analysis.pictures.panels import Shown, figure_of, largest_value
from analysis.pictures.view import View
from analysis.records import Run, cameras_of
from analysis.types import Episode, EpisodeMeta
from models.errors import UserError
from models.types import CheckpointSpec


@dataclass(frozen=True)
class NamedRun:
    """A record, under the name that a caption gives its checkpoint."""

    run: Run
    name: str
    cameras: Mapping[str, str] | None = None  # the policy's name of a camera -> the episode's
    tested: str = ""  # of an attribution: whether the map was found to be faithful, as a caption says it

    def shown(self, step: int) -> Shown:
        """What it holds of a step; without prediction where that step was not run."""
        key, address = self.run.key, self.run.address
        if step not in self.run.steps_done():
            return Shown(self.name, key.checkpoint, cameras=self.cameras, record=address)
        if key.method.startswith(PREFIX):
            found = read_step(self.run, step)
            return Shown(
                self.name, key.checkpoint, attribution=found, cameras=self.cameras, record=address, tested=self.tested
            )
        if key.method != "predict":
            raise UserError(f"record {address} is of method {key.method!r}, which has no picture")
        prediction = self.run.read(step)
        return Shown(self.name, key.checkpoint, prediction, cameras=self.cameras, record=address)


def camera_names(spec: CheckpointSpec, meta: EpisodeMeta, run: Run) -> Mapping[str, str]:
    """The policy's name of each camera -> the episode's, in a run."""
    return plan_cameras(spec.cameras, meta.cameras, cameras_of(run.key), spec.every_camera).episode_names


def figure_at(episode: Episode, step: int, runs: Sequence[NamedRun], view: View, full: float | None = None) -> Figure:
    """The figure of one step. Raises UserError for a step that there is not, or a record of another episode."""
    check_runs(episode, runs)
    here = episode.step(step)
    shown = [one.shown(step) for one in runs]
    if full is None and view.scale == "episode":
        full = episode_scale(episode, runs, view)
    return figure_of(episode.meta, step, here.observation.images, shown, view, full, here.objects)


def figures(episode: Episode, steps: Sequence[int], runs: Sequence[NamedRun], view: View) -> Iterator[Figure]:
    """One figure a step, made when it is asked for; all on one scale, as a film whose colours jump says nothing."""
    check_runs(episode, runs)
    view = View(**{**vars(view), "scale": "episode"})
    full = max((_largest(episode, step, runs, view) for step in steps), default=0.0)
    for step in steps:
        yield figure_at(episode, step, runs, view, full)


def episode_scale(episode: Episode, runs: Sequence[NamedRun], view: View) -> float:
    """The largest value of every step that was run."""
    done = sorted(set().union(*(one.run.steps_done() for one in runs)) & set(range(episode.meta.length)))
    return max((_largest(episode, step, runs, view) for step in done), default=0.0)


def _largest(episode: Episode, step: int, runs: Sequence[NamedRun], view: View) -> float:
    return largest_value(episode.meta, [one.shown(step) for one in runs], view)


def check_runs(episode: Episode, runs: Sequence[NamedRun]) -> None:
    """Raises UserError for more than two, or one of another episode."""
    if len(runs) > 2:
        raise UserError(f"{len(runs)} records were given; a picture has one, or two that are compared")
    for one in runs:
        if one.run.key.episode != episode.meta.digest:
            raise UserError(
                f"record {one.run.address} is of an episode with the digest {one.run.key.episode}; episode "
                f"{episode.meta.id!r} has {episode.meta.digest}"
            )
