"""Greedy decoding with a KV cache that keeps what generation loops throw away: log-probabilities and attention rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from models.capture import RowCollector
from models.cut_attention import CutAttention, active_cuts
from models.knock_out import NAMED, Place
from models.sampling import picked
from models.types import Part


class GreedyRun:
    """One sequence: the prompt is read once, then every token is chosen or forced in turn.

    The query of a token's row is the position before it, so query position q produced token q - (prompt - 1).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        collector: RowCollector | None,
        following: Callable[[int, int], dict[str, Tensor]] | None = None,
        part_of: Callable[[int, int], Part] = lambda index, token: Part.ACTION,
        names_of: Callable[[Sequence[int]], Sequence[str]] | None = None,
    ):
        """``following``: further inputs for ``count`` positions from ``start``, which a model does not count itself.

        ``part_of``: what a generated token is, of its index among them and its id; knock-outs ask. ``names_of``: the
        part of the rationale that each of the tokens so far belongs to, and the token to come ("": to none).
        """
        self._model, self._collector, self._following = model, collector, following
        self._cache = DynamicCache(config=model.config.get_text_config())
        self._part_of, self._names_of = part_of, names_of
        self._pending: list[int] = []  # said, not yet read
        self._next: Float[Tensor, " V"] | None = None  # logits of the token to come
        self.writing = Part.ACTION  # what the tokens that are chosen next will be
        self.length = 0  # positions read
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.queries: list[int] = []  # positions whose rows were kept

    def read(self, inputs: dict[str, Tensor], length: int, every_row: bool, last_row: bool) -> None:
        """The prompt, ``length`` positions long."""
        if (cuts := active_cuts()) is not None:
            (to_come,) = self._names([], cuts)
            cuts.expect(length, (), [*[None] * (length - 1), place(self.writing, to_come)])
        rows = slice(0, None) if every_row else slice(length - 1, None) if last_row else None
        self._next = self._forward(inputs, length, rows, answers=1)[-1]

    def choose(
        self,
        allowed: Bool[Tensor, " V"] | slice,
        keep: bool,
        adjusted: Callable[[Float[Tensor, " V"]], Float[Tensor, " V"]] | None = None,
    ) -> tuple[int, Float[Tensor, " V"]]:
        """Say the likeliest allowed token; the full vocabulary's log-probabilities it was chosen from come with it.

        Under `models.sampling.drawing` a token is drawn instead.
        ``adjusted`` makes other scores of the logits, by which the token is chosen (a penalty on repeating).
        """
        logits = self._upcoming(keep)
        logprobs = torch.log_softmax(logits, dim=-1)
        scores = logprobs if adjusted is None else adjusted(logits)
        if isinstance(allowed, slice):
            token = picked(scores[allowed]) + int(allowed.start)
        else:
            token = picked(scores.masked_fill(~allowed, -torch.inf))
        self._say(token, logprobs)
        return token, logprobs

    def force(self, ids: Sequence[int], keep: bool) -> None:
        """Say exactly ``ids``; they are read in one forward, with the rows that generating them would have had."""
        if not ids:
            return
        free, self.writing = self.writing, self._part_of(len(self.tokens), ids[0])
        self._say(ids[0], torch.log_softmax(self._upcoming(keep), dim=-1))
        self.writing = free
        rest = list(ids[1:])
        if rest:
            read, self._pending = [ids[0], *rest[:-1]], []
            answers = torch.log_softmax(self._continue(read, keep, rest), dim=-1)
            for token, logprobs in zip(rest, answers, strict=True):
                self._say(token, logprobs)
            self._pending = [rest[-1]]

    def _say(self, token: int, logprobs: Float[Tensor, " V"]) -> None:
        self.tokens.append(token)
        self.logprobs.append(float(logprobs[token]))
        self._pending, self._next = [token], None

    def _upcoming(self, keep: bool) -> Float[Tensor, " V"]:
        if self._next is None:
            self._next = self._continue(self._pending, keep)[-1]
        return self._next

    def _continue(self, ids: list[int], keep: bool, answers: Sequence[int] | None = None) -> Float[Tensor, "n V"]:
        """Reads what was said; ``answers``: the tokens that will be said to each, where that is known."""
        self._tell_cuts(ids, answers)
        inputs = {"input_ids": torch.tensor([ids], device=self._model.device)}
        if self._following is not None:
            inputs |= self._following(self.length, len(ids))
        return self._forward(inputs, len(ids), slice(0, None) if keep else None, answers=len(ids))

    def _tell_cuts(self, ids: Sequence[int], answers: Sequence[int] | None) -> None:
        if (cuts := active_cuts()) is None:
            return
        first = len(self.tokens) - 1 if answers is not None else len(self.tokens) - len(ids)
        said = [*self.tokens[:first], *ids]
        names = self._names([*said, *(answers or ())[-1:]], cuts)
        own = [place(self._part_of(index, token), names[index]) for index, token in enumerate(said)]
        made = [self._part_of(first + 1 + index, token) for index, token in enumerate(answers or ())]
        after = names[first + 1 : first + 1 + len(ids)]
        cuts.expect(len(ids), own, list(map(place, made or [self.writing] * len(ids), after)))

    def _names(self, tokens: Sequence[int], cuts: CutAttention) -> Sequence[str]:
        """Of every token and the one to come; none where no cut asks."""
        if self._names_of is None or not cuts.by_name:
            return [""] * (len(tokens) + 1)
        return self._names_of(tokens)

    def _forward(self, inputs: dict[str, Tensor], count: int, rows: slice | None, answers: int) -> Float[Tensor, "n V"]:
        if self._collector is not None:
            self._collector.expect(rows, self.length + count)
            if rows is not None:
                self.queries.extend(range(self.length + rows.start, self.length + count))
        output = self._model(**inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=answers)
        self.length += count
        logits: Tensor = output.logits[0].float()
        return logits


def place(part: Part, name: str) -> Place:
    """What a written position is."""
    return part, name if part in NAMED else ""


def bin_probabilities(logprobs: Float[Tensor, " B"]) -> tuple[Float[np.ndarray, " B"], float]:
    """Probabilities over the bins alone, and the probability that the full vocabulary gave to all of them together."""
    mass = torch.logsumexp(logprobs.double(), dim=0)
    # log-probabilities in float32 may add up to a hair more than one
    return torch.exp(logprobs.double() - mass).cpu().numpy(), min(float(mass.exp()), 1.0)
