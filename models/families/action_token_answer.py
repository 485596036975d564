"""What an action-token policy generated, read back: spans, rationale, actions and what it thought of every bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer

from models.action_tokens import ActionScale, ActionTokens
from models.families.action_token_prompt import Vocabulary, readable
from models.rationale_text import UNNAMED, PartTokens, join_parts, split_parts
from models.types import ActionDistribution, Part, Rationale, Span, TokenLayout


@dataclass(frozen=True)
class Answer:
    """Generated ids cut by what they are. The order of text and actions is found, never assumed."""

    tokens: tuple[int, ...]
    layout: TokenLayout  # prompt, then the generated tokens
    parts: tuple[Part, ...]  # of every generated token
    texts: tuple[str, ...]  # of every generated token
    text: str
    rationale: Rationale | None
    actions: Float[np.ndarray, "T D"]
    action_tokens: tuple[int, ...]  # indices in tokens


class AnswerReader:
    def __init__(
        self, tokenizer: Tokenizer, vocabulary: Vocabulary, action: ActionTokens, scale: ActionScale, author: str
    ):
        self._tokenizer, self._vocabulary, self._action, self._author = tokenizer, vocabulary, action, author
        self._centres = action.centres(scale)

    def __call__(self, tokens: Sequence[int], prompt: TokenLayout) -> Answer:
        action_tokens = [index for index, token in enumerate(tokens) if token in self._vocabulary.action]
        if len(action_tokens) != self._action.count:
            raise ValueError(f"{len(action_tokens)} action tokens were generated, expected {self._action.count}")
        actions = [self._value(tokens[index], place) for place, index in enumerate(action_tokens)]
        offset = len(prompt.tokens)
        spans: list[Span] = []
        texts: list[str] = []
        words: list[tuple[str, str]] = []
        for run in self._runs(tokens):
            ids = tokens[run.start : run.stop]
            texts.extend(readable(self._tokenizer, token) for token in ids)
            part, name = self._kind(run, ids[0], action_tokens)
            if part is Part.RATIONALE:
                words.append((run.name, self._decode(ids)))
            spans.append(Span(part, name, offset + run.start, offset + run.stop))
        for place, index in enumerate(action_tokens):
            texts[index] = f"{self._dimension(place)} {actions[place]:+.3g}"
        return Answer(
            tokens=tuple(tokens),
            layout=TokenLayout((*prompt.tokens, *texts), (*prompt.spans, *spans)),
            parts=tuple(span.part for span in spans for _ in range(span.start, span.stop)),
            texts=tuple(readable(self._tokenizer, token) for token in tokens),
            text=self._decode([token for token in tokens if self._is_text(token)]),
            rationale=join_parts(words, self._author),
            actions=np.array(actions).reshape(self._action.chunk, len(self._action.names)),
            action_tokens=tuple(action_tokens),
        )

    def distribution(self, place: int, token: int, probabilities: np.ndarray, mass: float) -> ActionDistribution:
        """Of the action token number ``place``, which is generated token ``token``."""
        step, dimension = divmod(place, len(self._action.names))
        values = self._centres[:, dimension]
        return ActionDistribution(token, step, self._dimension(place), values, probabilities, mass)

    def _runs(self, tokens: Sequence[int]) -> list[PartTokens]:
        """Words of one part together, every marker, control and action token on its own."""
        runs: list[PartTokens] = []
        for run in split_parts(tokens, self._vocabulary.markers):
            start = run.start
            for index in range(run.start, run.stop):
                if not run.marker and not self._is_text(tokens[index]):
                    runs += [PartTokens(run.name, start, index, marker=False)] if index > start else []
                    runs.append(PartTokens(run.name, index, index + 1, marker=True))
                    start = index + 1
            runs += [PartTokens(run.name, start, run.stop, run.marker)] if run.stop > start else []
        return runs

    def _kind(self, run: PartTokens, first: int, action_tokens: Sequence[int]) -> tuple[Part, str]:
        if first in self._vocabulary.action:
            return Part.ACTION, self._dimension(action_tokens.index(run.start))
        if run.marker:
            return Part.SPECIAL, readable(self._tokenizer, first)
        return Part.RATIONALE, run.name if run.name else UNNAMED

    def _is_text(self, token: int) -> bool:
        special = token in (self._vocabulary.begin, self._vocabulary.eos)
        return not special and token not in self._vocabulary.action

    def _value(self, token: int, place: int) -> float:
        dimension = place % len(self._action.names)
        return float(self._centres[token - self._vocabulary.action.start, dimension])

    def _dimension(self, place: int) -> str:
        return self._action.names[place % len(self._action.names)]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False)).strip()
