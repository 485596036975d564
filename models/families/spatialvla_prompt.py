"""SpatialVLA's prompt: image tokens, <bos>, the question, a new line."""

from __future__ import annotations

from tokenizers import Tokenizer

from models.errors import UserError
from models.families.action_token_prompt import LONGEST_INSTRUCTION, LONGEST_TEXT, Prompt, readable
from models.families.spatialvla_settings import SpatialVLASettings
from models.types import Part, PatchGrid, Span, TokenLayout

BEFORE, AFTER = "What action should the robot take to ", "?\n"
FIRST_ACTION = "<ACTION00000>"


class SpatialVLAPrompt:
    """Every token knows the part that its characters came from."""

    def __init__(self, settings: SpatialVLASettings, tokenizer: Tokenizer, where: str):
        """Raises UserError where the tokenizer numbers action tokens otherwise than config.json."""
        self._settings, self._tokenizer = settings, tokenizer
        first = tokenizer.token_to_id(FIRST_ACTION)
        if first is not None and first != settings.grid.first:
            raise UserError(
                f"{where}: config.json: action_token_begin_idx is {settings.grid.first}, the tokenizer has "
                f"{FIRST_ACTION} at {first}"
            )
        actions = range(settings.grid.first, settings.grid.first + settings.spatial_tokens)
        self._controls = {*settings.special(), *actions}

    def __call__(self, instruction: str, grid: PatchGrid) -> Prompt:
        """Raises UserError for an instruction that the policy cannot read."""
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} can be read")
        settings, count = self._settings, grid.rows * grid.columns
        ids = [settings.image_token] * count + [settings.bos]
        texts = [f"{grid.camera} {row},{column}" for row in range(grid.rows) for column in range(grid.columns)]
        spans = [Span(Part.IMAGE, grid.camera, 0, count, grid), Span(Part.SPECIAL, "bos", count, count + 1)]
        texts.append("<bos>")
        text = BEFORE + instruction + AFTER
        start, stop = len(BEFORE), len(BEFORE) + len(instruction)
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        for token, (left, right) in zip(encoded.ids, encoded.offsets, strict=True):
            said = right > start and left < stop
            self._check(token, text[left:right])
            ids.append(token)
            surface = text[left:right].strip(" ").replace("\n", "\\n")
            texts.append(surface or readable(self._tokenizer, token))
            _extend(spans, Part.INSTRUCTION if said else Part.PROMPT, len(ids))
        words = sum(span.stop - span.start for span in spans if span.part is Part.INSTRUCTION)
        if words > LONGEST_INSTRUCTION:
            raise UserError(f"the instruction has {words} tokens; at most {LONGEST_INSTRUCTION} can be read")
        return Prompt(tuple(ids), TokenLayout(tuple(texts), tuple(spans)))

    def is_word(self, token: int) -> bool:
        return token not in self._controls

    def words(self, text: str) -> list[int]:
        """Text that the policy is made to say, as ids. Raises UserError for control tokens in it."""
        ids = [int(token) for token in self._tokenizer.encode(text, add_special_tokens=False).ids]
        for token in ids:
            if not self.is_word(token):
                name = self._tokenizer.id_to_token(token)
                raise UserError(f"the rationale contains {name!r}, a control token that cannot be part of it")
        return ids

    def _check(self, token: int, text: str) -> None:
        if not self.is_word(token):
            raise UserError(
                f"the instruction contains {text!r}, which is a control token of the policy; use plain words"
            )


def _extend(spans: list[Span], part: Part, stop: int) -> None:
    """Position ``stop - 1`` joins the last span where that is the same thing."""
    last = spans[-1]
    if last.part is part:
        spans[-1] = Span(part, part.value, last.start, stop)
    else:
        spans.append(Span(part, part.value, stop - 1, stop))
