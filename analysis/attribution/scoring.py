"""One number, or the action, of a policy for many changed observations: what perturbation methods measure.

Any policy can be asked through `predict`. One that scores batches is asked teacher-forced, many observations at once.
Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np
from jaxtyping import Float

from analysis.attribution.features import Told
from analysis.attribution.target import Target, action_tokens, check_target
from analysis.cancelled import Asked, Progress, check
from models.errors import UserError
from models.policy import ActionTokens, BatchScoring, Policy
from models.types import ActionBins, Observation, Prediction

Words = Literal["held", "free"]
LEAST_CHANCE = 1e-30  # a probability of zero would make a logarithm infinite


class Scorer:
    """Values [B, D] of the target: D = 1, or all dimensions of the whole action as "action".

    ``words``: "held" makes the policy say its own rationale of the unchanged observation again, so that only the
    direct effect is measured; "free" lets it write another, which costs a run of its own for each observation.
    Raises UserError for a target that the prediction does not have.
    """

    def __init__(
        self,
        policy: Policy,
        observation: Observation,
        prediction: Prediction,
        target: Target,
        words: Words = "held",
        by_predicting: bool = False,
    ):
        """``by_predicting``: through `predict` even where batches could be scored: what is said is changed as well."""
        check_target(target, prediction)
        self._policy, self._observation, self._prediction = policy, observation, prediction
        self._target, self._words = target, words
        self._tokens = action_tokens(target, prediction)
        self._bins = self._action_bins()
        if target.scalar == "log-probability" and not self._tokens:
            raise UserError(
                "the policy's actions are continuous and have no log-probability; explain the action itself"
            )
        if target.scalar == "action" and target.tokens:
            self._bins = tuple(each for each in self._all_bins() if each.token in target.tokens)
            if not self._bins:
                raise UserError(
                    f"{target.text} is no action token and stands for no value; explain its log-probability"
                )
        self._batched = words == "held" and not by_predicting and self._can_batch()
        self.forwards = 0

    @property
    def scale(self) -> Float[np.ndarray, " D"]:
        """Range of each value as the action space has it, to make dimensions comparable; one where it has none."""
        names = [self._target.action] if not self._target.whole else list(self._prediction.action_names)
        space = self._policy.info.action_space
        if self._target.scalar != "action" or not self._target.whole or space is None or not space.low:
            return np.ones(self.reference.shape)
        ranges = {n: high - low for n, low, high in zip(space.names, space.low, space.high, strict=True)}
        return np.array([ranges.get(str(name), 1.0) or 1.0 for name in names])

    @cached_property
    def reference(self) -> Float[np.ndarray, " D"]:
        """The values of the unchanged observation, measured in the same way as those of changed ones."""
        return self._values([self._observation])[0]

    def __call__(
        self,
        changed: Iterable[Observation | Told],
        total: int,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> Float[np.ndarray, "B D"]:
        """Values of ``total`` changed observations, made as they are needed. Raises Cancelled once ``cancelled()``."""
        remaining, found, size = iter(changed), list[np.ndarray](), self._batch_size()
        if progress is not None:
            progress(0, total)
        while batch := list(islice(remaining, size)):
            check(cancelled)
            found.append(self._values(batch))
            if progress is not None:
                progress(sum(map(len, found)), total)
        return np.concatenate(found) if found else np.zeros((0, len(self.reference)))

    def _values(self, asked: Sequence[Observation | Told]) -> Float[np.ndarray, "B D"]:
        self.forwards += len(asked)
        observations = [each for each in asked if isinstance(each, Observation)]
        if self._batched and len(observations) == len(asked):
            return self._batch(observations)
        return np.stack([self._one(each) for each in asked])

    def _batch(self, observations: Sequence[Observation]) -> Float[np.ndarray, "B D"]:
        policy, said = self._policy, self._prediction.tokens
        assert isinstance(policy, BatchScoring)
        rows = sorted({each.token for each in self._bins} if self._target.scalar == "action" else set(self._tokens))
        logprobs = policy.score_all(observations, said.tolist(), rows).astype(np.float64)
        if self._target.scalar == "log-probability":
            return logprobs[:, range(len(rows)), said[rows]].sum(axis=1, keepdims=True)
        columns = [_expected(logprobs[:, rows.index(each.token)], each) for each in self._bins]
        return np.stack(columns, axis=1)

    def _one(self, asked: Observation | Told) -> Float[np.ndarray, " D"]:
        if isinstance(asked, Told):
            found = self._policy.predict(asked.observation, force=asked.rationale)
        else:
            held = self._words == "held" and self._prediction.text and self._policy.info.generates_rationale
            found = self._policy.predict(asked, force=self._prediction.text if held else None)
        if self._target.scalar == "log-probability":
            return np.array([sum(self._log_probability(found, token) for token in self._tokens)])
        return _action_values(self._target, found)

    def _log_probability(self, found: Prediction, token: int) -> float:
        original = self._prediction
        for told, now in zip(original.action_distribution, found.action_distribution, strict=False):
            if told.token == token and (told.step, told.name) == (now.step, now.name):
                value = original.actions[told.step][original.action_names.index(told.name)]
                chance = now.probabilities[np.abs(now.values - value).argmin()] * now.mass
                return math.log(max(float(chance), LEAST_CHANCE))
        if token < len(found.tokens) and np.array_equal(found.tokens[: token + 1], original.tokens[: token + 1]):
            return float(found.token_logprobs[token])
        raise UserError(
            f"token {token} ({original.token_texts[token]!r}) was not said again for a changed observation, and this "
            "policy cannot be told to; explain an action instead"
        )

    def _can_batch(self) -> bool:
        if not isinstance(self._policy, BatchScoring) or not len(self._prediction.tokens):
            return False
        return self._target.scalar == "log-probability" or bool(self._bins)

    def _action_bins(self) -> tuple[ActionBins, ...]:
        if self._target.scalar != "action" or self._target.tokens:
            return ()
        mine = (e for e in self._all_bins() if e.step == self._target.step and self._target.action in (None, e.name))
        return tuple(mine)

    def _all_bins(self) -> tuple[ActionBins, ...]:
        return self._policy.action_bins(self._prediction) if isinstance(self._policy, ActionTokens) else ()

    def _batch_size(self) -> int:
        if not self._batched or not isinstance(self._policy, BatchScoring):
            return 1
        return self._policy.batch_limit(len(self._prediction.layout.tokens), max(len(self._tokens), 1))


def _expected(logprobs: Float[np.ndarray, "B V"], bins: ActionBins) -> Float[np.ndarray, " B"]:
    """Expected value over the bins alone, robot units."""
    own = logprobs[:, bins.ids]
    chances = np.exp(own - own.max(axis=1, keepdims=True))
    return (chances @ bins.values) / chances.sum(axis=1)


def _action_values(target: Target, found: Prediction) -> Float[np.ndarray, " D"]:
    """Expected values where the policy has bins, else the values themselves; robot units."""
    if target.tokens:
        own = [each for each in found.action_distribution if each.token in target.tokens]
        return np.array([float(each.probabilities @ each.values) for each in own])
    names = found.action_names if target.action is None else (target.action,)
    if len(found.actions) <= target.step:
        raise UserError("the policy gave no action for a changed observation; nothing can be compared")
    told = {(each.step, each.name): each for each in found.action_distribution}
    values = []
    for name in names:
        entry = told.get((target.step, name))
        plain = found.actions[target.step][found.action_names.index(name)]
        values.append(plain if entry is None else float(entry.probabilities @ entry.values))
    return np.array(values, dtype=np.float64)
