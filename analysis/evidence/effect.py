"""How far an answer moves when something is changed: one number for policies with action tokens and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from analysis.evidence.aim import Aim
from analysis.metrics.divergence import jensen_shannon
from models.errors import UserError
from models.policy import ActionTokens, BatchScoring, Policy
from models.types import ActionSpace, CheckpointSpec, Observation, Prediction

AT_ONCE = 16  # observations in one forward
BITS, RANGE = "bits", "of the action range"


@dataclass(frozen=True)
class Change:
    """Between two predictions, over the action dimensions and chunk steps that both have."""

    divergence: float  # mean Jensen-Shannon divergence of the action distributions, bits; nan: there are none
    action: float  # mean |difference| / (high - low) of the decoded action, 0 to 1; nan: no action

    @property
    def size(self) -> float:
        """The divergence where there is one, since a greedy action can stay while its odds move; else the action."""
        return self.action if np.isnan(self.divergence) else self.divergence


def unit_of(spec: CheckpointSpec) -> str:
    """The unit of `Change.size` for a policy."""
    return BITS if spec.action_space is not None and spec.action_space.bins else RANGE


def change(before: Prediction, after: Prediction, space: ActionSpace | None) -> Change:
    """How far ``after`` is from ``before``."""
    then = {(entry.step, entry.name): entry for entry in after.action_distribution}
    pairs = [
        (entry.probabilities, then[entry.step, entry.name].probabilities)
        for entry in before.action_distribution
        if (entry.step, entry.name) in then
    ]
    same = [jensen_shannon(p, q) for p, q in pairs if p.shape == q.shape]
    divergence = float(np.mean(same)) if same else float("nan")
    return Change(divergence, action_distance(before.actions, after.actions, before.action_names, space))


def action_distance(
    one: Float[np.ndarray, "T D"], other: Float[np.ndarray, "U D"], names: Sequence[str], space: ActionSpace | None
) -> float:
    """Mean over shared chunk steps and dimensions of |difference| / (high - low); nan where nothing is shared.

    A dimension whose range is not known or has no width is left out, and so is a value that is nan.
    """
    steps = min(len(one), len(other))
    if not steps or space is None or tuple(names) != tuple(space.names):
        return float("nan")
    width = np.array(space.high) - np.array(space.low)
    known = np.isfinite(width) & (width > 0)
    if not known.any():
        return float("nan")
    apart = np.minimum(np.abs(one[:steps] - other[:steps])[:, known] / width[known], 1.0)
    told = ~np.isnan(apart)
    return float(apart[told].mean()) if told.any() else float("nan")


def image_effects(
    policy: Policy,
    observation: Observation,
    answer: Prediction,
    changed: Sequence[Observation],
    aim: Aim,
    still: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, " n"]:
    """How far what ``aim`` names of the ``answer`` to ``observation`` moves for every changed observation.

    Of an action `Change.size`. A policy that scores batches keeps the words and actions that it said and only their
    odds move (teacher-forced); any other answers anew. Of words the mean Jensen-Shannon divergence over the vocabulary,
    bits. ``still`` is called between forwards and may raise to stop.
    Raises UserError for words of a policy that cannot be told what it said.
    """
    if not aim.actions:
        if not isinstance(policy, BatchScoring):
            raise UserError(f"{policy.info.name} cannot be told what it said, so no word's odds can be followed")
        return _words(policy, observation, answer, changed, aim.words, still)
    if isinstance(policy, BatchScoring) and isinstance(policy, ActionTokens) and answer.action_distribution:
        return _scored(policy, answer, changed, aim, still)
    space, own = policy.info.action_space, _only(answer, aim)
    effects = []
    for seen in changed:
        still()
        effects.append(change(own, policy.predict(seen), space).size)
    return np.array(effects)


def _only(said: Prediction, aim: Aim) -> Prediction:
    """The prediction with the numbers that are meant alone; the others are nan, and count nowhere."""
    entries = tuple(entry for entry in said.action_distribution if (entry.step, entry.name) in aim.actions)
    meant = [[(step, name) in aim.actions for name in said.action_names] for step in range(len(said.actions))]
    actions = np.where(np.array(meant, bool).reshape(said.actions.shape), said.actions, np.nan)
    return replace(said, actions=actions, action_distribution=entries)


def _scored(
    policy: Policy, answer: Prediction, changed: Sequence[Observation], aim: Aim, still: Callable[[], None]
) -> Float[np.ndarray, " n"]:
    assert isinstance(policy, ActionTokens) and isinstance(policy, BatchScoring)
    pairs = zip(policy.action_bins(answer), answer.action_distribution, strict=True)
    meant = [(bins, told) for bins, told in pairs if (told.step, told.name) in aim.actions]
    rows = sorted({bins.token for bins, _ in meant})
    tokens = [int(token) for token in answer.tokens]
    effects: list[float] = []
    for start in range(0, len(changed), AT_ONCE):
        still()
        scores = policy.score_all(changed[start : start + AT_ONCE], tokens, rows)
        per_token = [
            _divergence(scores[:, rows.index(bins.token), bins.ids], bins.values, told.values, told.probabilities)
            for bins, told in meant
        ]
        effects += np.mean(per_token, axis=0).tolist()
    return np.array(effects)


def _words(
    policy: BatchScoring,
    observation: Observation,
    answer: Prediction,
    changed: Sequence[Observation],
    words: Sequence[int],
    still: Callable[[], None],
) -> Float[np.ndarray, " n"]:
    rows, tokens = sorted(words), [int(token) for token in answer.tokens]
    at_once = min(AT_ONCE, policy.batch_limit(len(answer.layout.tokens), len(rows)))
    told = np.exp(policy.score_all([observation], tokens, rows)[0].astype(np.float64))
    effects: list[float] = []
    for start in range(0, len(changed), at_once):
        still()
        odds = np.exp(policy.score_all(changed[start : start + at_once], tokens, rows).astype(np.float64))
        effects += jensen_shannon(odds, np.broadcast_to(told, odds.shape)).mean(axis=1).tolist()
    return np.array(effects)


def _divergence(
    scores: Float[np.ndarray, "n I"],
    values: Float[np.ndarray, " I"],
    told_values: Float[np.ndarray, " B"],
    told: Float[np.ndarray, " B"],
) -> Float[np.ndarray, " n"]:
    """Of the odds of ids against those told of bins; ids that stand for one value are summed."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
    if len(values) != len(told_values):  # several ids stand for one value
        nearest = np.abs(values[:, None] - told_values[None]).argmin(axis=1)
        summed = np.zeros((len(odds), len(told_values)))
        np.add.at(summed.T, nearest, odds.T)
        odds = summed
    return jensen_shannon(odds, np.broadcast_to(told, odds.shape))
