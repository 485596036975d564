"""What a π0 policy reads before its chunk: images of the cameras, <bos>, the instruction, a new line, the state.

The published code pads words to 48 tokens and absent cameras with an image, and masks both: no position looks at them
and they take no number in the order. So they are left out here, and nothing else changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from models.errors import UserError
from models.families.action_token_prompt import LONGEST_TEXT, read_tokenizer, readable
from models.images import SeenImage
from models.types import Part, Span, TokenLayout


@dataclass(frozen=True)
class Prompt:
    ids: tuple[int, ...]  # of the words, <bos> first; images are no ids
    layout: TokenLayout  # images, words, state


class PromptBuilder:
    """Images and words to layout and ids. Holds no state between calls."""

    def __init__(self, tokenizer: Tokenizer, begin: int | None, patch: int, max_tokens: int | None):
        """``begin``: the id of <bos>; ``max_tokens``: longer texts are cut, as in the published code."""
        self._tokenizer, self._begin, self._patch, self._max_tokens = tokenizer, begin, patch, max_tokens
        self._controls = {
            token
            for token, added in tokenizer.get_added_tokens_decoder().items()
            if isinstance(added, AddedToken) and added.special
        }

    @staticmethod
    def read(folder: Path, patch: int, max_tokens: int | None) -> PromptBuilder:
        """From the tokenizer files in ``folder``. Raises UserError for a tokenizer that cannot be read."""
        tokenizer = read_tokenizer(folder)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return PromptBuilder(tokenizer, tokenizer.token_to_id(_begin(folder)), patch, max_tokens)

    def __call__(self, images: Mapping[str, SeenImage], instruction: str) -> Prompt:
        """``images`` by camera, in the order in which they are read. Raises UserError for words that cannot be read."""
        texts: list[str] = []
        spans: list[Span] = []
        for camera, seen in images.items():
            grid = seen.grid(camera, self._patch)
            spans.append(Span(Part.IMAGE, camera, len(texts), len(texts) + grid.rows * grid.columns, grid))
            texts += [f"{camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns)]
        ids, words, parts = self._words(instruction)
        for word, part in zip(words, parts, strict=True):
            texts.append(word)
            _extend(spans, part, len(texts))
        spans.append(Span(Part.STATE, "state", len(texts), len(texts) + 1))
        return Prompt(tuple(ids), TokenLayout((*texts, "state"), tuple(spans)))

    def _words(self, instruction: str) -> tuple[list[int], list[str], list[Part]]:
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} can be read")
        text = instruction if instruction.endswith("\n") else f"{instruction}\n"
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids, words, parts = list(encoded.ids), [], []
        for token, (start, stop) in zip(encoded.ids, encoded.offsets, strict=True):
            surface = text[start:stop].strip()
            if token in self._controls:
                raise UserError(f"the instruction contains {surface!r}, a control token of the policy; use plain words")
            words.append(surface or ("\\n" if "\n" in text[start:stop] else readable(self._tokenizer, token)))
            parts.append(Part.INSTRUCTION if surface else Part.PROMPT)
        if self._begin is not None:
            ids, words, parts = [self._begin, *ids], ["<bos>", *words], [Part.SPECIAL, *parts]
        end = self._max_tokens
        return ids[:end], words[:end], parts[:end]


NAMES = {Part.SPECIAL: "bos", Part.INSTRUCTION: "instruction", Part.PROMPT: "prompt"}


def _extend(spans: list[Span], part: Part, stop: int) -> None:
    """Position ``stop - 1`` joins the last span where that is the same thing."""
    last = spans[-1]
    if last.part is part:
        spans[-1] = Span(part, last.name, last.start, stop)
    else:
        spans.append(Span(part, NAMES[part], stop - 1, stop))


def _begin(folder: Path) -> str:
    """What the token is called that every text begins with."""
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return "<bos>"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file} is not valid JSON ({error})") from error
    named = content.get("bos_token") if isinstance(content, dict) else None
    named = named.get("content") if isinstance(named, dict) else named
    return named if isinstance(named, str) else "<bos>"
