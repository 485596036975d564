"""The what-if page's questions to a policy, as background tasks whose answers are kept as records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.attribution.features import SeenObject
from analysis.cameras import CameraPlan, default_cameras, plan_cameras
from analysis.interventions.chart import effect_provenance
from analysis.interventions.effect import Effect
from analysis.interventions.in_world import Consequence, Scenes, consequence, keep_consequence, kept_consequence
from analysis.interventions.intervene import changed, intervene, intervention_run, kept
from analysis.interventions.question import Intervention, Situation, ask, situation
from analysis.interventions.rationale_edits import spelled_out
from analysis.interventions.registry import as_text
from analysis.pictures.provenance import Provenance
from analysis.records import Run, Setting
from analysis.workspace import ACTED_OUT
from app.library import Library
from app.run_records import Asked
from app.shared_policies import PolicyChoice
from app.tasks import Progress, Task, TaskState, tasks_of
from models.policy import Policy
from models.types import CheckpointSpec, Prediction, TokenLayout

UNWATCHED_SECONDS = 30.0


@dataclass(frozen=True)
class Seen:
    """A step as the policy sees and answers it, nothing changed."""

    layout: TokenLayout  # of the prompt
    answer: Prediction
    objects: tuple[SeenObject, ...]
    why_not: dict[str, str]  # kind of an intervention -> why it cannot be made on this policy


@dataclass(frozen=True)
class Place:
    """Which step is looked at, and how its policy is opened."""

    library: Library
    asked: Asked
    step: int

    @property
    def spec(self) -> CheckpointSpec:
        return self.library.workspace.checkpoint(self.asked.checkpoint, self.asked.family)

    @property
    def cameras(self) -> CameraPlan:
        meta = self.library.episode(self.asked.dataset, self.asked.episode).meta
        return plan_cameras(self.spec.cameras, meta.cameras, self.asked.cameras, self.spec.every_camera)

    @property
    def choice(self) -> PolicyChoice:
        return PolicyChoice(self.asked.checkpoint, action_stats=self.asked.action_stats, family=self.asked.family)

    def run(self, interventions: Sequence[Intervention]) -> Run:
        """Where the answers are kept."""
        workspace, asked = self.library.workspace, self.asked
        meta = self.library.episode(asked.dataset, asked.episode).meta
        spec, recognised = self.spec, workspace.checkpoint(asked.checkpoint)
        usual = default_cameras(spec.cameras, meta.cameras, asked.cameras, spec.every_camera)
        return intervention_run(
            workspace.records,
            spec.digest,
            meta.digest,
            interventions,
            action_stats=asked.action_stats,
            family=None if spec.family == recognised.family else spec.family,
            dtype=workspace.running.recorded_number_type(spec),
            cameras=None if usual else [*self.cameras.chosen],
        )

    def result(self, scenes: Scenes, interventions: Sequence[Intervention]) -> Path:
        """Where what came of acting out a change is kept."""
        asked = f"{self.run(interventions).address} {scenes}"
        id = hashlib.sha256(asked.encode()).hexdigest()[:16]
        return self.library.workspace.path / ACTED_OUT / "results" / f"{id}.json"

    def situation(self, policy: Policy) -> Situation:
        """Runs the policy where its answer is not kept yet."""
        asked, cameras = self.asked, self.cameras
        episode = self.library.episode(asked.dataset, asked.episode)
        step = self.library.read(asked.dataset, asked.episode, lambda each: each.step(self.step))
        seen = cameras.seen(step.observation)
        answer = kept(self.run([]), self.step, lambda: policy.predict(seen))
        return situation(policy, episode, step, cameras, answer, lambda id: self.library.episode(asked.dataset, id))


def look(place: Place) -> Task:
    """The task whose result is `Seen`."""

    def work(policies: tuple[Policy, ...], progress: Progress, cancelled: Callable[[], bool]) -> Seen:
        here = place.situation(policies[0])
        return Seen(here.layout, here.answer, here.objects, _why_not(policies[0]))

    key = ("what if", place.asked, place.step)
    return tasks_of(place.library).submit(key, work, [place.choice], "The policy's own answer", UNWATCHED_SECONDS)


def change(place: Place, interventions: Sequence[Intervention]) -> Task:
    """The task whose result is an `Effect`."""

    def work(policies: tuple[Policy, ...], progress: Progress, cancelled: Callable[[], bool]) -> Effect:
        here = place.situation(policies[0])
        progress(1, 2)
        question = changed(policies[0], here, interventions)
        answer = kept(place.run(interventions), place.step, lambda: ask(policies[0], question))
        return _lean(intervene(policies[0], here, interventions, answer))

    key = ("what if", place.asked, place.step, as_text(interventions))
    return tasks_of(place.library).submit(key, work, [place.choice], "The answer to the change", UNWATCHED_SECONDS)


def lead_to(place: Place, scenes: Scenes, interventions: Sequence[Intervention]) -> Task:
    """The task whose result is a `Consequence`: rollouts in a simulated world, kept as episodes of the workspace."""

    def work(policies: tuple[Policy, ...], progress: Progress, cancelled: Callable[[], bool]) -> Consequence:
        folder = place.library.workspace.path / ACTED_OUT
        changes = spelled_out(interventions, place.situation(policies[0]))
        found = consequence(policies[0], scenes, changes, folder, progress)
        keep_consequence(place.result(scenes, interventions), found)
        return found

    return tasks_of(place.library).submit(_leading(place, scenes, interventions), work, [place.choice], "Rollouts")


def led_to(place: Place, scenes: Scenes, interventions: Sequence[Intervention]) -> Task | Consequence | None:
    """The task that is under way or failed, else what is kept; None where this was not acted out here."""
    task = tasks_of(place.library).get(_leading(place, scenes, interventions))
    if task is not None and task.state is not TaskState.DONE:
        return task
    return kept_consequence(place.result(scenes, interventions))


def _leading(place: Place, scenes: Scenes, interventions: Sequence[Intervention]) -> Hashable:
    return ("what if", place.asked, scenes, as_text(interventions))


def told(place: Place, effect: Effect) -> Provenance:
    """What a caption says of an effect."""
    meta = place.library.episode(place.asked.dataset, place.asked.episode).meta
    opened: dict[str, Setting] = {
        "action statistics": place.asked.action_stats,
        "cameras": ", ".join(place.cameras.chosen),
    }
    return effect_provenance(place.spec, meta, {place.step: effect}, opened)


def _why_not(policy: Policy) -> dict[str, str]:
    """Of one example a group: what holds for it holds for the group."""
    from analysis.interventions.knock_outs import KnockOutHead
    from analysis.interventions.rationale_edits import ShuffleWords

    groups: dict[str, Intervention] = {"rationale": ShuffleWords(), "attention": KnockOutHead(0, 0)}
    return {name: why for name, each in groups.items() if (why := each.why_not(policy)) is not None}


def _lean(effect: Effect) -> Effect:
    """Without depth maps, which nothing here shows."""
    return replace(effect, before=replace(effect.before, depth=()), after=replace(effect.after, depth=()))
