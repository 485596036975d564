"""Ask a policy with and without some changes. Both answers are kept as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from analysis.interventions.effect import Effect, effect
from analysis.interventions.frames import changed_frames
from analysis.interventions.question import Intervention, Question, Situation, ask
from analysis.interventions.registry import as_settings
from analysis.records import RecordStore, Run, RunKey, Setting
from models.errors import UserError
from models.policy import Policy
from models.types import Prediction

METHOD = "intervene"


def changed(policy: Policy, situation: Situation, interventions: Sequence[Intervention]) -> Question:
    """The question with all changes made, in their order. Raises UserError for one that cannot be made."""
    question = Question(situation.observation)
    for each in interventions:
        if (why := each.why_not(policy)) is not None:
            raise UserError(why)
        question = each.change(question, situation)
    return question


def intervene(
    policy: Policy, situation: Situation, interventions: Sequence[Intervention], answer: Prediction | None = None
) -> Effect:
    """What the changes do to the answer; ``answer``: to the changed question, where it is known already.

    A flow-matching policy starts from the same noise both times. Raises UserError for a change that cannot be made.
    """
    if not interventions:
        raise UserError("there is nothing to change: name at least one intervention")
    question = changed(policy, situation, interventions)
    after = ask(policy, question) if answer is None else answer
    edits = tuple(each.describe() for each in interventions)
    found = effect(situation.answer, after, edits, policy.info, question.force is not None)
    return replace(found, frames=changed_frames(situation.observation, question.observation))


def intervention_run(
    store: RecordStore, checkpoint: str, episode: str, interventions: Sequence[Intervention], **settings: Setting
) -> Run:
    """Where answers to a changed question are kept, step by step; none changed: the answers before.

    ``settings``: what else was said to the policy, as for `analysis.records.capture_key`.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    asked: dict[str, Setting] = {"interventions": as_settings(interventions)}
    return store.run(RunKey(checkpoint, episode, METHOD, asked | given))


def kept(run: Run | None, step: int, make: Callable[[], Prediction]) -> Prediction:
    """The record's answer at a step, made and stored where it is not there."""
    if run is None:
        return make()
    if step not in run.steps_done():
        run.write(step, make())
    return run.read(step)
