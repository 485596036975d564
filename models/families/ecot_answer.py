"""What an ECoT policy wrote, cut by what it is: tags, words of each part, action tokens, the end.

Action tokens are found by their range of the vocabulary. The published code takes the last seven ids, the end token
among them, and is off by one; here it is the last ones of the range before the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from tokenizers import Tokenizer

from models.families.ecot_reasoning import ACTION, FIRST, TAGS, Section, sections
from models.families.openvla_answer import ActionReader, WrittenAction
from models.families.openvla_config import OpenVLAConfig
from models.families.openvla_prompt import extend, readable
from models.rationale_text import PrefixEnds
from models.types import Part, Span, TokenLayout


@dataclass(frozen=True)
class EcotAnswer:
    text: str  # without action tokens and end
    written: WrittenAction
    layout: TokenLayout  # prompt, then what was written


class AnswerReader:
    def __init__(self, config: OpenVLAConfig, tokenizer: Tokenizer, actions: ActionReader):
        self._config, self._tokenizer, self._actions = config, tokenizer, actions

    def __call__(self, tokens: Sequence[int], prompt: TokenLayout) -> EcotAnswer:
        said = [index for index, token in enumerate(tokens) if token != self._config.eos]
        found = [index for index in said if tokens[index] in self._config.actions.ids][-self._actions.count :]
        written = self._actions.read(tokens, found)
        words = [index for index in said if index not in set(found)]
        places, text = self._places([tokens[index] for index in words], self.ends())
        place_of = dict(zip(words, places, strict=True))
        cut = sections(text)
        texts, spans = list(prompt.tokens), list(prompt.spans)
        for index, token in enumerate(tokens):
            texts.append(written.texts.get(index) or readable(self._tokenizer, token))
            if index in place_of:
                extend(spans, *_kind(place_of[index], text, cut), len(texts))
            elif index in written.texts:
                name = self._actions.names[written.tokens.index(index)]
                spans.append(Span(Part.ACTION, name, len(texts) - 1, len(texts)))
            else:
                extend(spans, Part.SPECIAL, "eos" if token == self._config.eos else "incomplete", len(texts))
        return EcotAnswer(text, written, TokenLayout(tuple(texts), tuple(spans)))

    def ends(self) -> PrefixEnds:
        """For the words of one run."""
        return PrefixEnds(self._decode)

    def part_names(self, tokens: Sequence[int], ends: PrefixEnds) -> list[str]:
        """The part that each of ``tokens``, the first of an answer, belongs to, and the one to come; of a tag none."""
        words = list(
            takewhile(lambda token: token != self._config.eos and token not in self._config.actions.ids, tokens)
        )
        places, text = self._places(words, ends)
        cut = sections(text)
        kinds = [_kind(place, text, cut) for place in places]
        names = [name if part is Part.RATIONALE else "" for part, name in kinds]
        return [*names, *[""] * (len(tokens) - len(words)), cut[-1].part if cut else FIRST]

    def _places(self, ids: Sequence[int], ends: PrefixEnds) -> tuple[list[tuple[int, int]], str]:
        """Characters [start, stop) of each token in the text, and the text."""
        return list(pairwise([0, *ends(ids)])), self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))


def _kind(place: tuple[int, int], text: str, cut: tuple[Section, ...]) -> tuple[Part, str]:
    """A token is what its first character that is no space is: of a tag, or of a part's words."""
    start, stop = place
    words = text[start:stop]
    first = start + len(words) - len(words.lstrip()) if words.strip() else start
    section = next((each for each in reversed(cut) if each.tag <= first), cut[0] if cut else Section(FIRST, 0, 0, 0))
    blank = not words.strip()
    if first < section.start or (section.part == ACTION and blank):
        return Part.SPECIAL, TAGS[section.part]
    return Part.RATIONALE, section.part
