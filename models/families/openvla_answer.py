"""Action tokens that were written, read back: values in robot units and what the policy thought of every bin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.action_tokens import ActionScale
from models.decoding import bin_probabilities
from models.families.openvla_actions import OpenVLAActions, action_names, action_units
from models.types import ActionBins, ActionDistribution

NOTE = "[no action: {} of {} action tokens were written]"
Bins = tuple[Float[np.ndarray, " B"], float]  # probabilities over the bins, and of all of them together


@dataclass(frozen=True)
class WrittenAction:
    """One step, or none where the policy stopped before it had written a token for every dimension."""

    actions: Float[np.ndarray, "T D"]
    tokens: tuple[int, ...]  # indices of the generated tokens, one a dimension
    texts: Mapping[int, str]  # of those tokens, as a person should read them
    note: str  # what is wrong with it; empty where nothing is


class ActionReader:
    def __init__(self, actions: OpenVLAActions, scale: ActionScale):
        self._actions, self._scale = actions, scale
        self.count = len(scale.mask)
        self.names, self.units = action_names(self.count), action_units(self.count)
        self._ascending = actions.ascending.copy()
        values = actions.normalised(self._ascending)[:, None]
        self._values = scale.to_robot(np.repeat(values, self.count, axis=1))

    def read(self, tokens: Sequence[int], places: Sequence[int]) -> WrittenAction:
        """The action of the tokens at ``places``; an id outside the range counts as the end that it is past."""
        if len(places) != self.count:
            note = NOTE.format(len(places), self.count)
            return WrittenAction(np.zeros((0, self.count)), (), {}, note)
        ids = np.array([tokens[place] for place in places])
        action = self._scale.to_robot(self._actions.normalised(ids)[None])
        texts = {
            place: f"{name} {value:+.3g}" + ("" if token in self._actions.ids else f" (token {token} is no action)")
            for place, name, value, token in zip(places, self.names, action[0], ids.tolist(), strict=True)
        }
        return WrittenAction(action, tuple(places), texts, "")

    def bins(self, logprobs: Float[Tensor, " V"]) -> Bins:
        """Probabilities over the bins, their values ascending, and the probability of all of them together."""
        return bin_probabilities(logprobs[torch.from_numpy(self._ascending).to(logprobs.device)])

    def distributions(self, written: WrittenAction, bins: Mapping[int, Bins]) -> tuple[ActionDistribution, ...]:
        """``bins``: of each of the written tokens."""
        return tuple(
            ActionDistribution(token, 0, name, self._values[:, dimension], *bins[token])
            for dimension, (token, name) in enumerate(zip(written.tokens, self.names, strict=False))
        )

    def all_bins(self, distributions: Sequence[ActionDistribution]) -> tuple[ActionBins, ...]:
        return tuple(
            ActionBins(each.token, each.step, each.name, self._ascending, each.values) for each in distributions
        )


def without_note(text: str) -> str:
    """The policy's own words, where ``text`` is that of a prediction without action."""
    return re.sub(r"\s*" + re.escape(NOTE).replace(r"\{\}", r"\d+") + r"$", "", text)
