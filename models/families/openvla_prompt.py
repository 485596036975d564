"""The prompt of an OpenVLA: BOS, image tokens, then the filled-in template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.action_token_prompt import LONGEST_INSTRUCTION, LONGEST_TEXT, read_tokenizer
from models.families.openvla_config import EMPTY_TOKEN, OpenVLAConfig
from models.types import Part, PatchGrid, Span, TokenLayout

SURFACES = {"\n": "↵", "<0x0A>": "↵"}  # a line break drawn as itself would tear the strip of tokens


@dataclass(frozen=True)
class Prompt:
    """What the policy reads. Images and state are features: they have positions but no ids."""

    ids: tuple[int, ...]  # BOS first; images and state come between it and the rest
    layout: TokenLayout

    @property
    def length(self) -> int:
        return len(self.layout.tokens)


def open_tokenizer(files: CheckpointFiles) -> Tokenizer:
    """Raises UserError where there is no tokenizer.json; SentencePiece's own file alone is not read."""
    file = files.find("tokenizer.json")
    if file is None:
        found = "tokenizer.model, but not" if files.find("tokenizer.model") is not None else "no"
        raise UserError(
            f"{files.folder} has {found} tokenizer.json; make it with transformers' "
            "LlamaTokenizerFast.from_pretrained(folder).save_pretrained(folder)"
        )
    return read_tokenizer(file.parent)


class PromptBuilder:
    """Fills the template; every token knows the part that its characters came from."""

    def __init__(self, config: OpenVLAConfig, tokenizer: Tokenizer, ends_empty: bool):
        """``ends_empty``: the lone space marker follows the template, as OpenVLA's own code adds it."""
        self._config, self._tokenizer, self._ends_empty = config, tokenizer, ends_empty

    def __call__(self, instruction: str, *grids: PatchGrid, state: bool = False) -> Prompt:
        """``grids``: of the images, in order; ``state``: proprioception follows them, as one position.

        Raises UserError for an instruction that is too long or holds control tokens.
        """
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} can be read")
        head, _, tail = self._config.prompt.partition("{instruction}")
        instruction = instruction.lower()
        text = head + instruction + tail
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids, texts = [self._config.bos], ["<s>"]
        spans = [Span(Part.SPECIAL, "bos", 0, 1)]
        for grid in grids:
            start = len(texts)
            texts += [f"{grid.camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns)]
            spans.append(Span(Part.IMAGE, grid.camera, start, len(texts), grid))
        if state:
            texts.append("state")
            spans.append(Span(Part.STATE, "state", len(texts) - 1, len(texts)))
        for token, (left, right) in zip(encoded.ids, encoded.offsets, strict=True):
            said = right > len(head) and left < len(head) + len(instruction)
            self._check(token, text[left:right]) if said else None
            ids.append(token)
            texts.append(self._surface(token, text[left:right]))
            extend(spans, Part.INSTRUCTION if said else Part.PROMPT, "instruction" if said else "prompt", len(texts))
        if self._ends_empty and ids[-1] != EMPTY_TOKEN:
            ids.append(EMPTY_TOKEN)
            texts.append("▁")
            extend(spans, Part.PROMPT, "prompt", len(texts))
        count = sum(span.stop - span.start for span in spans if span.part is Part.INSTRUCTION)
        if count > LONGEST_INSTRUCTION:
            raise UserError(f"the instruction has {count} tokens; at most {LONGEST_INSTRUCTION} can be read")
        return Prompt(tuple(ids), TokenLayout(tuple(texts), tuple(spans)))

    def _check(self, token: int, text: str) -> None:
        if is_control(self._config, token):
            raise UserError(
                f"the instruction contains {text!r}, which is a control token of the policy; use plain words"
            )

    def _surface(self, token: int, text: str) -> str:
        return SURFACES.get(text) or text.strip() or readable(self._tokenizer, token)


def is_control(config: OpenVLAConfig, token: int) -> bool:
    """Tokens that no text of a person may bring in: markers, padding and actions."""
    return token in (config.bos, config.eos) or token >= config.actions.words or token in config.actions.ids


def encode_text(config: OpenVLAConfig, tokenizer: Tokenizer, text: str) -> list[int]:
    """A rationale to ids. Raises UserError for control tokens in it."""
    ids = [int(token) for token in tokenizer.encode(text, add_special_tokens=False).ids]
    for token in ids:
        if is_control(config, token):
            raise UserError(
                f"the rationale contains {tokenizer.id_to_token(token)!r}, a control token that cannot be part of it"
            )
    return ids


def readable(tokenizer: Tokenizer, token: int) -> str:
    """A token as a person should read it; ids without a word by their number."""
    text = tokenizer.id_to_token(token)
    if text is None:
        return f"<{token}>"
    return SURFACES.get(text) or re.sub(r"[▁Ġ]", " ", text).strip() or text


def extend(spans: list[Span], part: Part, name: str, stop: int) -> None:
    """Position ``stop - 1`` joins the last span where that is the same thing."""
    last = spans[-1]
    if last.part is part and last.name == name:
        spans[-1] = Span(part, name, last.start, stop)
    else:
        spans.append(Span(part, name, stop - 1, stop))


def texts_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[str, ...]:
    return tuple(readable(tokenizer, token) for token in tokens)
