"""What a change leads to: the policy acts in a simulated world with and without it, from the same scenes.

Every rollout is kept as an episode in the workspace, so that it opens in the player.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from analysis.atomic_file import replaced, written_once
from analysis.attribution.features import SeenObject
from analysis.cameras import CameraPlan, plan_cameras
from analysis.evaluation.closed_loop import Rollout, check_fit, roll_out
from analysis.evaluation.world import World, open_world
from analysis.interventions.question import Intervention, Question, Situation, ask
from analysis.interventions.rationale_edits import REWORDING
from analysis.interventions.registry import as_text
from analysis.metrics.intervals import wilson
from analysis.types import EpisodeMeta, SceneObject
from models.errors import UserError
from models.policy import Policy
from models.types import Capture, Observation, Prediction, Rationale, TokenLayout


@runtime_checkable
class SceneWorld(World, Protocol):
    """A world that can lay the scene of an episode and tell what is in view."""

    def begin(self, seed: int, task: str | None = None) -> str:
        """Lay the scene of a seed and a task; the same give the same. Returns the task."""
        ...

    def objects(self) -> Mapping[str, tuple[SceneObject, ...]]:
        """What is in view now, per camera."""
        ...


@dataclass(frozen=True)
class Scenes:
    """Where a policy acts: the scene of an episode, and the same task from further seeds."""

    world: str  # registered name
    task: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Consequence:
    """``before`` and ``after`` go by the same seeds."""

    scenes: Scenes
    before: tuple[Rollout, ...]
    after: tuple[Rollout, ...]
    changed: int  # steps at which the change could be made
    steps: int  # of all rollouts with the change
    episodes: tuple[tuple[str, str], ...]  # per seed: ids of the episodes without and with the change


def scenes_of(meta: EpisodeMeta, world: str, count: int) -> Scenes:
    """The scene of an episode and of ``count`` - 1 further seeds. Raises UserError where the episode names no seed."""
    seed = meta.extra.get("seed", "")
    if not seed.isdecimal() or not meta.task:
        raise UserError("the episode names no task and seed of a simulated world, so its scene cannot be laid again")
    return Scenes(world, meta.task, tuple(range(int(seed), int(seed) + count)))


def share(rollouts: Sequence[Rollout], what: Callable[[Rollout], bool]) -> tuple[int, int, tuple[float, float]]:
    """How many of how many, and the 95 % Wilson interval of the share."""
    count = sum(map(what, rollouts))
    return count, len(rollouts), wilson(count, len(rollouts))


def consequence_values(found: Consequence) -> dict[str, Any]:
    """A consequence as JSON values; shares with their 95 % Wilson intervals."""
    values: dict[str, Any] = {"world": found.scenes.world, "task": found.scenes.task, "seeds": list(found.scenes.seeds)}
    for when, rollouts in (("before", found.before), ("after", found.after)):
        for name in ("success", "grasped", "wrong"):
            count, of, (low, high) = share(rollouts, attrgetter(name))
            values[f"{name} {when}"] = f"{count} of {of} (95 % {low:.2f} to {high:.2f})"
    return values | {"changed_steps": found.changed, "steps": found.steps, "episodes": [*map(list, found.episodes)]}


def keep_consequence(path: Path, found: Consequence) -> None:
    """Writes a consequence as JSON, in place of one that is there."""
    with replaced(path) as part:
        part.write_text(json.dumps(asdict(found)), encoding="utf-8")


def kept_consequence(path: Path) -> Consequence | None:
    """The consequence that `keep_consequence` wrote; None where there is none, or one that cannot be read."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        scenes = Scenes(held["scenes"]["world"], held["scenes"]["task"], tuple(held["scenes"]["seeds"]))
        before, after = (tuple(Rollout(**each) for each in held[name]) for name in ("before", "after"))
        pairs = tuple((one, other) for one, other in held["episodes"])
        return Consequence(scenes, before, after, held["changed"], held["steps"], pairs)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def consequence(
    policy: Policy,
    scenes: Scenes,
    interventions: Sequence[Intervention],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Consequence:
    """Rolls out what is not kept in ``folder`` yet; ``progress`` is told after each step, in rollouts done.

    Raises UserError for a world in which the policy cannot act, or a change that could be made at no step.
    """
    world = open_world(scenes.world)
    check_fit(policy, world)
    if not isinstance(world, SceneWorld):
        raise UserError(f"the world {scenes.world!r} cannot lay the scene of an episode again")
    total, done = 2 * len(scenes.seeds), 0

    def tick() -> None:
        if progress is not None:
            progress(done, total)

    found: dict[bool, list[_Kept]] = {False: [], True: []}
    for seed in scenes.seeds:
        for changed in (False, True):
            acting = ChangedPolicy(policy, tuple(interventions) if changed else (), world, scenes, tick)
            found[changed].append(_kept(acting, _OfTask(world, scenes.task), seed, folder))
            done += 1
            tick()
    after = found[True]
    if not any(each.changed for each in after):
        raise UserError(f"the change could be made at no step of the rollouts: {after[0].why}")
    return Consequence(
        scenes,
        tuple(each.rollout for each in found[False]),
        tuple(each.rollout for each in after),
        sum(each.changed for each in after),
        sum(each.rollout.steps for each in after),
        tuple((one.id, other.id) for one, other in zip(found[False], after, strict=True)),
    )


class ChangedPolicy:
    """A Policy to whose every question the same changes are made, as far as each can be made at that step."""

    def __init__(
        self,
        policy: Policy,
        interventions: tuple[Intervention, ...],
        world: SceneWorld,
        scenes: Scenes,
        tick: Callable[[], None],
    ):
        self._policy, self._interventions, self._world, self._tick = policy, interventions, world, tick
        self.changed, self.why = 0, ""
        opened = f"{policy.info.family} {policy.info.action_space}"  # as which, with whose statistics
        known_by = "\n".join((policy.info.digest, opened, as_text(interventions), scenes.world, scenes.task))
        name = f"{policy.info.name}, changed" if interventions else policy.info.name
        self.info = replace(policy.info, name=name, digest=hashlib.sha256(known_by.encode()).hexdigest()[:16])

    def layout(self, observation: Observation) -> TokenLayout:
        return self._policy.layout(observation)

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        self._tick()
        question = Question(observation, force)
        if self._interventions:
            question = self._changed(question)
        return ask(self._policy, question)

    def _changed(self, question: Question) -> Question:
        here, made = self._situation(question.observation), False
        for each in self._interventions:
            try:
                question, made = each.change(question, here), True
            except UserError as error:  # such as: the thing to hide is out of view now
                self.why = str(error)
        self.changed += made
        return question

    def _situation(self, seen: Observation) -> Situation:
        reworded = any(isinstance(each, REWORDING) for each in self._interventions)
        answer = self._policy.predict(seen) if reworded else NOTHING_SAID
        in_view = self._world.objects()
        objects = tuple(
            SeenObject(name, thing.name, thing.box, thing.mask)
            for name, camera in self._cameras.pairs
            for thing in in_view.get(camera, ())
        )
        return Situation(seen, self._policy.layout(seen), answer, objects)

    @cached_property
    def _cameras(self) -> CameraPlan:
        """As `roll_out` matches them: a world's cameras stay the same."""
        shown = self._world.observation()
        return plan_cameras(self.info.cameras, tuple(shown.images), None, self.info.every_camera)


NOTHING_SAID = Prediction(
    actions=np.zeros((0, 0)),
    action_names=(),
    action_units=(),
    tokens=np.zeros(0, np.int64),
    token_texts=(),
    token_logprobs=np.zeros(0),
    text="",
    rationale=None,
    action_distribution=(),
    layout=TokenLayout((), ()),
)


class _OfTask:
    """A world that lays the scenes of one task."""

    def __init__(self, world: SceneWorld, task: str) -> None:
        self._world, self._task = world, task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def begin(self, seed: int) -> str:
        return self._world.begin(seed, self._task)


@dataclass(frozen=True)
class _Kept:
    rollout: Rollout
    changed: int
    why: str
    id: str


def _kept(acting: ChangedPolicy, world: Any, seed: int, folder: Path) -> _Kept:
    """A rollout, from its folder where it is kept there."""
    place = folder / acting.info.digest
    told = place / f"seed-{seed}.json"
    if told.exists():
        stored = json.loads(told.read_bytes())
        return _Kept(Rollout(**stored.pop("rollout")), **stored)
    (place / f"seed-{seed}.hdf5").unlink(missing_ok=True)  # of a rollout that was cut short
    rollout = roll_out(acting, world, seed, place)
    done = _Kept(rollout, acting.changed, acting.why, f"{acting.info.digest[:8]}-seed-{seed}")
    with written_once(told) as part:
        part.write_text(json.dumps(asdict(done)), encoding="utf-8")
    return done
