"""What every decoder layer of a running policy holds, and what it would already say: the action lens.

Hidden states are read by hooks that look at a context variable, so that several threads can run one model at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.decoding import bin_probabilities
from models.teacher_forcing import TeacherForcing
from models.types import ActionBins, ActionDistribution, Observation, Prediction


@dataclass(frozen=True)
class Decoder:
    """A language model's layers, and what follows the last one."""

    layers: Sequence[nn.Module]  # each gives the residual stream after it
    norm: nn.Module  # after the last layer
    logits: Callable[[Tensor], Tensor]  # of normed states, soft-capped where the model does

    @classmethod
    def of(cls, language: nn.Module, model: PreTrainedModel) -> Decoder:
        """``language``: transformers' decoder with ``layers`` and ``norm``; ``model``: what holds its head."""
        cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        head: nn.Module = model.get_output_embeddings()

        def logits(states: Tensor) -> Tensor:
            scores: Tensor = head(states)
            return scores if cap is None else torch.tanh(scores / cap) * cap

        return cls(tuple(language.layers), language.norm, logits)


class LayerReading(TeacherForcing):
    """Makes a policy LayerReadable."""

    @abstractmethod
    def _decoder(self) -> Decoder: ...

    @abstractmethod
    def action_bins(self, prediction: Prediction) -> tuple[ActionBins, ...]: ...

    def layer_states(self, observation: Observation, tokens: Sequence[int] = ()) -> Float[np.ndarray, "L P width"]:
        with torch.inference_mode():
            return self._states(observation, tokens).float().cpu().numpy()

    def action_lens(
        self, observation: Observation, prediction: Prediction
    ) -> tuple[tuple[ActionDistribution, ...], ...]:
        decoder, bins = self._decoder(), self.action_bins(prediction)
        with torch.inference_mode():
            states = self._states(observation, [int(token) for token in prediction.tokens[:-1]])
            prompt = states.shape[1] - len(prediction.tokens) + 1
            rows = torch.tensor([prompt - 1 + entry.token for entry in bins], device=states.device)
            told = [torch.log_softmax(decoder.logits(decoder.norm(state[rows])).float(), -1) for state in states]
        return tuple(_read(scores, bins, prediction.action_distribution) for scores in told)

    def _states(self, observation: Observation, tokens: Sequence[int]) -> Float[Tensor, "L P width"]:
        embedded = self.embed(observation)
        prompt = embedded.shape[1]
        if tokens:
            embedded = torch.cat([embedded, self.embed_words(tokens).to(embedded.dtype)], dim=1)
        last = torch.tensor([embedded.shape[1] - 1], device=embedded.device)
        with _reading(self._decoder().layers) as found:
            self._next_logits(embedded, prompt, last, None)
        return torch.stack([state[0] for state in found])


_reader: ContextVar[list[Tensor] | None] = ContextVar("layer_state_reader", default=None)


@contextmanager
def _reading(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what ``layers`` give in the forward inside, on this thread alone."""
    found: list[Tensor] = []
    token = _reader.set(found)

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if _reader.get() is found:
            found.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield found
    finally:
        _reader.reset(token)
        for handle in handles:
            handle.remove()


def _read(
    scores: Float[Tensor, "n V"], bins: Sequence[ActionBins], said: Sequence[ActionDistribution]
) -> tuple[ActionDistribution, ...]:
    """What one layer would say, over the bins that the policy itself was read with."""
    out = []
    for row, entry, told in zip(scores, bins, said, strict=True):
        probabilities, mass = bin_probabilities(row[torch.from_numpy(np.asarray(entry.ids)).to(row.device)])
        if not np.array_equal(entry.values, told.values):  # ids stand in another order, or several for one value
            nearest = np.abs(entry.values[:, None] - told.values[None]).argmin(axis=1)
            probabilities = np.bincount(nearest, weights=probabilities, minlength=len(told.values))
        out.append(replace(told, probabilities=probabilities, mass=mass))
    return tuple(out)
