"""What is put to a policy, and what an intervention may look up to change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

from analysis.attribution.features import SeenObject
from analysis.cameras import CameraPlan
from analysis.types import Episode, Step
from models.errors import UserError
from models.knock_out import Cut
from models.policy import Knockable, Policy
from models.types import Observation, Prediction, Rationale, TokenLayout


@dataclass(frozen=True)
class Question:
    """An observation, the rationale that is forced on the policy (None: its own), what is knocked out of it."""

    observation: Observation
    force: Rationale | str | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Situation:
    """One step as the policy sees it, before anything is changed."""

    observation: Observation  # images under the policy's names
    layout: TokenLayout  # of the prompt
    answer: Prediction  # to the unchanged question
    objects: tuple[SeenObject, ...] = ()  # in view, by the policy's names of the cameras
    step: int = 0
    said_at: Callable[[str | None, int], Rationale | None] | None = field(default=None, compare=False)
    """The policy's own rationale at a step of another episode (an id), or of this one (None)."""


@runtime_checkable
class Intervention(Protocol):
    """A frozen dataclass of JSON values; `kind` names its class in records and links."""

    kind: ClassVar[str]

    def why_not(self, policy: Policy) -> str | None:
        """Why it cannot be made on this policy, in a sentence; None where it can."""
        ...

    def describe(self) -> str:
        """What it changes, for a caption."""
        ...

    def change(self, question: Question, situation: Situation) -> Question:
        """Raises UserError where the step has not what it changes."""
        ...


def ask(policy: Policy, question: Question) -> Prediction:
    """The policy's answer. Raises UserError for what it cannot read or do."""
    if not question.cuts:
        return policy.predict(question.observation, force=question.force)
    if not isinstance(policy, Knockable):
        raise UserError(f"{policy.info.name} does not let attention be knocked out")
    return policy.predict_without(question.observation, question.cuts, force=question.force)


def situation(
    policy: Policy,
    episode: Episode,
    step: Step,
    cameras: CameraPlan,
    answer: Prediction | None = None,
    other: Callable[[str], Episode] | None = None,
) -> Situation:
    """A step of an episode. ``answer``: where it is known already; ``other``: opens further episodes by id.

    Objects are those that the episode knows (masks, boxes) and the boxes that the policy itself wrote.
    """
    seen = cameras.seen(step.observation)
    said = policy.predict(seen) if answer is None else answer

    def said_at(id: str | None, index: int) -> Rationale | None:
        if id is not None and other is None:
            raise UserError(f"the episode {id!r} cannot be reached from here")
        source = episode if id is None or other is None else other(id)
        if not 0 <= index < source.meta.length:
            raise UserError(f"there is no step {index}; the episode has steps 0 to {source.meta.length - 1}")
        if missing := [camera for camera in cameras.chosen if camera not in source.meta.cameras]:
            raise UserError(f"the episode {source.meta.id!r} has no camera {missing[0]!r}, which the policy sees here")
        return policy.predict(cameras.seen(source.step(index).observation)).rationale

    known = [
        SeenObject(name, thing.name, thing.box, thing.mask)
        for name, camera in cameras.pairs
        for thing in step.objects.get(camera, ())
        if thing.box is not None or (thing.mask is not None and thing.mask.any())
    ]
    names = {thing.name for thing in known}
    written = [
        SeenObject(mark.camera, mark.name, (mark.at[0], mark.at[1], mark.at[2], mark.at[3]))
        for mark in said.marks
        if mark.kind == "box" and mark.name not in names
    ]
    return Situation(seen, policy.layout(seen), said, (*known, *written), step.index, said_at)


def with_rationale(question: Question, rationale: Rationale) -> Question:
    """The question with this rationale forced."""
    return replace(question, force=rationale)
