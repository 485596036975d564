"""What a vision-language model wrote: one text without parts, and the token that ended it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from models.families.chat_tokenizer import ChatTokenizer
from models.rationale_text import UNNAMED
from models.types import AttentionRecord, Part, Prediction, Rationale, Span, TokenLayout


@dataclass(frozen=True)
class Answer:
    tokens: tuple[int, ...]
    layout: TokenLayout  # prompt, then the generated tokens
    words: int  # tokens before the one that ended it
    texts: tuple[str, ...]  # of every generated token
    text: str
    rationale: Rationale | None

    @staticmethod
    def read(
        tokens: Sequence[int], prompt: TokenLayout, tokenizer: ChatTokenizer, ends: Collection[int], author: str
    ) -> Answer:
        """The text is kept as it is, spaces included: said again, it is the same tokens."""
        texts = tuple(tokenizer.shown(token) for token in tokens)
        words = len(tokens) - 1 if tokens and tokens[-1] in ends else len(tokens)
        start = len(prompt.tokens)
        spans = [Span(Part.RATIONALE, UNNAMED, start, start + words)] if words else []
        if words < len(tokens):
            spans.append(Span(Part.SPECIAL, texts[-1], start + words, start + len(tokens)))
        text = tokenizer.decode(tokens[:words])
        layout = TokenLayout((*prompt.tokens, *texts), (*prompt.spans, *spans))
        rationale = Rationale({UNNAMED: text}, author=author) if text.strip() else None
        return Answer(tuple(tokens), layout, words, texts, text, rationale)


def prediction(answer: Answer, logprobs: Sequence[float], attention: tuple[AttentionRecord, ...]) -> Prediction:
    """The answer as a prediction without actions."""
    return Prediction(
        actions=np.zeros((0, 0)),
        action_names=(),
        action_units=(),
        tokens=np.array(answer.tokens, dtype=np.int64),
        token_texts=answer.texts,
        token_logprobs=np.array(logprobs, dtype=np.float64),
        text=answer.text,
        rationale=answer.rationale,
        action_distribution=(),
        layout=answer.layout,
        attention=attention,
    )
