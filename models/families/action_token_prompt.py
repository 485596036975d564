"""The prompt of an action-token checkpoint: image tokens, <bos>, then the filled-in template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tokenizers import Tokenizer

from models.action_tokens import StateTokens
from models.config_section import ConfigSection
from models.errors import UserError
from models.families.action_token_config import ActionTokenConfig
from models.types import Part, PatchGrid, Span, TokenLayout

LONGEST_INSTRUCTION = 512  # tokens
LONGEST_TEXT = 4000  # characters: a word-level vocabulary would take any length for one unknown token


def read_tokenizer(folder: Path) -> Tokenizer:
    """tokenizer.json alone: no code of the checkpoint's is needed to read it. Raises UserError where it is broken."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UserError(f"{folder} has no tokenizer.json")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"{file} cannot be read as a tokenizer ({error})") from error


def token_id(tokenizer: Tokenizer, token: str, where: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise UserError(f"{where} names the token {token!r}, which the tokenizer does not have")
    return int(found)


@dataclass(frozen=True)
class Vocabulary:
    """Ids that mean something beyond words."""

    bos: int
    eos: int
    pad: int
    image: int
    unknown: int | None
    state: range
    action: range
    begin: int
    markers: dict[int, str]  # marker id -> rationale part

    @staticmethod
    def read(tokenizer: Tokenizer, config: ConfigSection, robot: ActionTokenConfig) -> Vocabulary:
        text = config.section("text_config")

        def special(name: str) -> int:
            return text.integer(name, minimum=0) if text.has(name) else config.integer(name, minimum=0)

        def consecutive(first: str, count: int, where: str) -> range:
            start = token_id(tokenizer, first, where)
            if start + count > tokenizer.get_vocab_size():
                size = tokenizer.get_vocab_size()
                raise UserError(
                    f"{where} needs {count} tokens from {first!r}, the vocabulary ends {size - start} after it"
                )
            return range(start, start + count)

        state = robot.state
        parts = robot.rationale.parts if robot.rationale is not None else {}
        unknown = getattr(tokenizer.model, "unk_token", None)
        return Vocabulary(
            bos=special("bos_token_id"),
            eos=special("eos_token_id"),
            pad=special("pad_token_id"),
            image=config.integer("image_token_index", minimum=0),
            unknown=tokenizer.token_to_id(unknown) if unknown else None,
            state=consecutive(state.first_token, state.bins, "vla.state.first_token") if state else range(0),
            action=consecutive(robot.action.first_token, robot.action.bins, "vla.action.first_token"),
            begin=token_id(tokenizer, robot.action.begin, "vla.action.begin"),
            markers={token_id(tokenizer, marker, "vla.rationale.parts"): name for marker, name in parts.items()},
        )

    def is_control(self, token: int) -> bool:
        single = (self.bos, self.eos, self.pad, self.image, self.begin)
        return token in single or token in self.state or token in self.action or token in self.markers


@dataclass(frozen=True)
class Prompt:
    ids: tuple[int, ...]
    layout: TokenLayout


class PromptBuilder:
    """Fills the template; every token knows the part that its characters came from."""

    def __init__(self, robot: ActionTokenConfig, vocabulary: Vocabulary, tokenizer: Tokenizer):
        self._robot, self._vocabulary, self._tokenizer = robot, vocabulary, tokenizer

    def __call__(self, instruction: str, state: Float[np.ndarray, " S"] | None, grid: PatchGrid) -> Prompt:
        """Raises UserError for an instruction or state that the policy cannot read."""
        ids: list[int] = [self._vocabulary.image] * (grid.rows * grid.columns) + [self._vocabulary.bos]
        texts = [f"{grid.camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns)]
        spans = [Span(Part.IMAGE, grid.camera, 0, len(texts), grid), Span(Part.SPECIAL, "bos", len(texts), len(ids))]
        texts.append("<bos>")
        before, placeholder, after = self._robot.prompt.partition("{state}")
        self._add_text(before, instruction, ids, texts, spans)
        if placeholder and self._robot.state is not None:
            self._add_state(self._robot.state, state, ids, texts, spans)
            self._add_text(after, instruction, ids, texts, spans)
        return Prompt(tuple(ids), TokenLayout(tuple(texts), tuple(spans)))

    def _add_text(self, template: str, instruction: str, ids: list[int], texts: list[str], spans: list[Span]) -> None:
        # tokenised in one piece, as in training: with subwords, words split differently when cut apart
        if not template.strip(" "):
            return
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} can be read")
        instruction = instruction.lower() if self._robot.lowercase else instruction
        head, placeholder, tail = template.partition("{instruction}")
        text = head + (instruction if placeholder else "") + tail
        start, stop = (len(head), len(head) + len(instruction)) if placeholder else (0, 0)
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        said = 0
        for token, (left, right) in zip(encoded.ids, encoded.offsets, strict=True):
            part = Part.INSTRUCTION if right > start and left < stop else Part.PROMPT
            if part is Part.INSTRUCTION:
                said += 1
                self._check_word(token, text[left:right])
            ids.append(token)
            surface = text[left:right].strip() or readable(self._tokenizer, token)
            texts.append(f"{surface} (unknown)" if token == self._vocabulary.unknown else surface)
            _extend(spans, part, "instruction" if part is Part.INSTRUCTION else "prompt", len(ids))
        if said > LONGEST_INSTRUCTION:
            raise UserError(f"the instruction has {said} tokens; at most {LONGEST_INSTRUCTION} can be read")

    def _check_word(self, token: int, text: str) -> None:
        if self._vocabulary.is_control(token):
            raise UserError(
                f"the instruction contains {text!r}, which is a control token of the policy; use plain words"
            )

    def _add_state(
        self,
        tokens: StateTokens,
        state: Float[np.ndarray, " S"] | None,
        ids: list[int],
        texts: list[str],
        spans: list[Span],
    ) -> None:
        bins = tokens.encode(state)
        for name, number, value in zip(tokens.names, bins, tokens.decode(bins), strict=True):
            ids.append(self._vocabulary.state[int(number)])
            texts.append(f"{name} {value:.3g}")
            spans.append(Span(Part.STATE, name, len(ids) - 1, len(ids)))


def _extend(spans: list[Span], part: Part, name: str, stop: int) -> None:
    """Position ``stop - 1`` joins the last span where that is the same thing."""
    last = spans[-1]
    if last.part is part and last.name == name:
        spans[-1] = Span(part, name, last.start, stop)
    else:
        spans.append(Span(part, name, stop - 1, stop))


def encode_words(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> list[int]:
    """Rationale text, markers included, to ids. Raises UserError for other control tokens in it."""
    ids = [int(token) for token in tokenizer.encode(text, add_special_tokens=False).ids]
    for token in ids:
        if vocabulary.is_control(token) and token not in vocabulary.markers:
            name = tokenizer.id_to_token(token)
            raise UserError(f"the rationale contains {name!r}, a control token that cannot be part of it")
    return ids


def readable(tokenizer: Tokenizer, token: int) -> str:
    """A token as a person should read it."""
    text = tokenizer.id_to_token(token) or ""
    return re.sub(r"[▁Ġ]", " ", text).strip() or text
