"""What a SpatialVLA policy generated, read back: three tokens a step and, where there are some, words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer

from models.action_tokens import ActionScale
from models.families.action_token_answer import Answer
from models.families.action_token_prompt import readable
from models.families.spatial_action_grid import DIMENSIONS, KINDS, NAMES, said
from models.families.spatialvla_settings import SpatialVLASettings
from models.rationale_text import UNNAMED, PrefixEnds, join_parts
from models.types import RATIONALE_TITLES, ActionBins, ActionDistribution, Part, Rationale, Span, TokenLayout

PARTS = ("observation", "situation", "spatial", "planning")  # ReFineVLA's four questions
HEADING = re.compile(r"\b(" + "|".join(RATIONALE_TITLES[part] for part in PARTS) + r")\s*:", re.IGNORECASE)


class SpatialAnswerReader:
    def __init__(self, tokenizer: Tokenizer, settings: SpatialVLASettings, scale: ActionScale, author: str):
        self._tokenizer, self._settings, self._scale, self._author = tokenizer, settings, scale, author

    def __call__(self, tokens: Sequence[int], prompt: TokenLayout) -> Answer:
        offset, start = len(prompt.tokens), self._start(tokens)
        normalised = self._normalised(tokens[start:])
        actions = self._scale.to_robot(normalised)
        told = [index for index, token in enumerate(tokens) if token != self._settings.eos]
        acting = [index for index in told if start <= index < start + self._settings.action_tokens]
        names = self._named_words(tokens, self.ends())
        texts = [readable(self._tokenizer, token) for token in tokens]
        shown, spans = list(texts), []
        for index in range(len(tokens)):
            if index in acting:
                step, kind = divmod(index - start, len(KINDS))
                shown[index] = said(kind, actions[step], normalised[step]) + self._clipped(tokens[index], kind)
                spans.append(Span(Part.ACTION, f"{KINDS[kind]} {step}", offset + index, offset + index + 1))
            elif index in names:
                _extend(spans, names[index], offset + index + 1)
            else:
                spans.append(Span(Part.SPECIAL, texts[index], offset + index, offset + index + 1))
        text = self._decode([tokens[index] for index in names])
        return Answer(
            tokens=tuple(tokens),
            layout=TokenLayout((*prompt.tokens, *shown), (*prompt.spans, *spans)),
            parts=tuple(span.part for span in spans for _ in range(span.start, span.stop)),
            texts=tuple(texts),
            text=text,
            rationale=join_parts(_cut(text), self._author),
            actions=actions,
            action_tokens=tuple(acting),
        )

    def distributions(
        self, place: int, token: int, probabilities: Float[np.ndarray, " n"], mass: float
    ) -> tuple[ActionDistribution, ...]:
        """Of the action token at ``place``, which is generated token ``token``: one a dimension that it says.

        Each is summed over the others.
        """
        step, kind = divmod(place, len(KINDS))
        grid = self._settings.grid
        return tuple(
            ActionDistribution(token, step, NAMES[each], *grid.marginal(each, probabilities, self._scale), mass)
            for each in DIMENSIONS[KINDS[kind]]
        )

    def bins(self, distributions: Sequence[ActionDistribution]) -> tuple[ActionBins, ...]:
        """Every point of the grid with its own value, where `distributions` sums over those that share one."""
        return tuple(self._bins(each) for each in distributions)

    def _bins(self, told: ActionDistribution) -> ActionBins:
        dimension = NAMES.index(told.name)
        kind = next(number for number, each in enumerate(KINDS) if dimension in DIMENSIONS[each])
        grid = self._settings.grid
        points = np.zeros((len(grid.ids(kind)), len(NAMES)))
        points[:, dimension] = grid.points[kind][:, dimension - DIMENSIONS[KINDS[kind]][0]]
        values = self._scale.to_robot(points)[:, dimension]
        return ActionBins(told.token, told.step, told.name, np.array(grid.ids(kind)), values)

    def _start(self, tokens: Sequence[int]) -> int:
        """Where the actions begin: at once, or after words at the first token that can begin one."""
        if not self._settings.reasons_first:
            return 0
        first = self._settings.grid.ids(0)
        return next((index for index, token in enumerate(tokens) if token in first), len(tokens))

    def _normalised(self, tokens: Sequence[int]) -> Float[np.ndarray, "T 7"]:
        """Actions before un-normalising. An answer that ended early is filled up with id 0, as published."""
        count = self._settings.action_tokens
        ids = [*tokens[:count], *[0] * (count - len(tokens))]
        return self._settings.grid.normalised(ids)

    def _clipped(self, token: int, kind: int) -> str:
        return "" if token in self._settings.grid.ids(kind) else " (clipped)"

    def ends(self) -> PrefixEnds:
        """For the words of one run."""
        return PrefixEnds(self._decode)

    def part_names(self, tokens: Sequence[int], ends: PrefixEnds) -> list[str]:
        """The part that each of ``tokens``, the first of an answer, belongs to, and the one to come."""
        named = self._named_words(tokens, ends)
        return [*(named.get(index, "") for index in range(len(tokens))), next(reversed(named.values()), UNNAMED)]

    def _named_words(self, tokens: Sequence[int], ends: PrefixEnds) -> dict[int, str]:
        """Of the tokens that are neither actions nor the end: the part that each belongs to, in order."""
        start = self._start(tokens)
        acting = range(start, start + self._settings.action_tokens)
        words = [index for index, token in enumerate(tokens) if index not in acting and token != self._settings.eos]
        return dict(zip(words, self._parts_of([tokens[index] for index in words], ends), strict=True))

    def _parts_of(self, ids: Sequence[int], ends: PrefixEnds) -> list[str]:
        """Name of the part that every word token belongs to, by where its last character lies in the text."""
        headings = [*HEADING.finditer(self._decode(ids))]
        starts = [match.start() for match in headings]
        names = [UNNAMED, *(_part(match[1]) for match in headings)]
        return [names[bisect_right(starts, max(end - 1, 0))] for end in ends(ids)]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False)).strip()


def written(rationale: Rationale | str) -> str:
    """A rationale as the policy would write it, its parts under ReFineVLA's headings."""
    if isinstance(rationale, str):
        return rationale
    titled = {name: f"{RATIONALE_TITLES[name]}: {text}" for name, text in rationale.parts.items() if name in PARTS}
    return " ".join(titled.get(name, text) for name, text in rationale.parts.items())


def _cut(text: str) -> list[tuple[str, str]]:
    """Parts and their texts, in order, headings left out."""
    pieces = HEADING.split(text)
    named = [(_part(title), words.strip()) for title, words in zip(pieces[1::2], pieces[2::2], strict=True)]
    return [(UNNAMED, pieces[0].strip())] * bool(pieces[0].strip()) + named


def _part(title: str) -> str:
    return next(part for part in PARTS if RATIONALE_TITLES[part].lower() == title.lower())


def _extend(spans: list[Span], name: str, stop: int) -> None:
    """Position ``stop - 1`` joins the last span where that is the same part of the rationale."""
    last = spans[-1] if spans else None
    if last is not None and last.part is Part.RATIONALE and last.name == name:
        spans[-1] = Span(Part.RATIONALE, name, last.start, stop)
    else:
        spans.append(Span(Part.RATIONALE, name, stop - 1, stop))
