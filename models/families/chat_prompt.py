"""The prompt of a vision-language model: its chat template or plain form, image tokens put in, every token named."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from models.errors import UserError
from models.families.action_token_prompt import LONGEST_TEXT, Prompt
from models.families.chat_tokenizer import ChatTokenizer, visible
from models.types import Part, PatchGrid, Span, TokenLayout

INSTRUCTION = "\ue000\ue001"  # private-use characters: stand for the instruction while a template is rendered


@dataclass(frozen=True)
class Marker:
    """Text between an image's runs of patches: a tile's name, a line break, an image token that is no patch."""

    text: str
    name: str


Piece = PatchGrid | Marker  # a grid stands for one image token a patch


@dataclass(frozen=True)
class PlainForm:
    """The prompt of a checkpoint without a chat template; {images}, {bos} and {instruction} are filled in."""

    text: str
    image: str  # what stands for one image in {images}; {token} is the image token
    adds_bos: bool = True  # whether the tokenizer adds its own special tokens


@dataclass(frozen=True)
class _Segment:
    """Characters [start, stop) of the prompt that are one thing."""

    start: int
    stop: int
    part: Part
    name: str
    grid: PatchGrid | None = None


class ChatPrompts:
    """Makes prompts: one user turn with the images, then the instruction."""

    def __init__(self, tokenizer: ChatTokenizer, template: str | None, plain: PlainForm):
        self._tokenizer, self._template, self._plain = tokenizer, template, plain

    def __call__(self, instruction: str, images: Sequence[Sequence[Piece]]) -> Prompt:
        """``images``: what each image's token becomes. Raises UserError for an instruction that cannot be read."""
        instruction = instruction.strip()  # templates differ in whether they do it
        self._check(instruction)
        before, after = self._around(instruction, len(images))
        segments = tuple(self._segments(before, instruction, after, images))
        text = "".join(piece for piece, _ in segments)
        bos = self._tokenizer.bos
        adds = self._plain.adds_bos if self._template is None else not (bos and text.startswith(bos))
        encoding = self._tokenizer.backend.encode(text, add_special_tokens=adds)
        return self._named(encoding, text, tuple(segment for _, segment in segments))

    def _check(self, instruction: str) -> None:
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} can be read")
        for token in self._tokenizer.special.values():
            if token in instruction:
                raise UserError(f"the instruction contains {token!r}, which is a control token")

    def _around(self, instruction: str, count: int) -> tuple[str, str]:
        """The prompt's text before and after the instruction."""
        text = self._filled(INSTRUCTION, count)
        before, mark, after = text.partition(INSTRUCTION)
        if not mark or self._filled(instruction, count) != before + instruction + after:
            raise UserError("the chat template does not put the instruction as it is into the prompt exactly once")
        found = (before + after).count(self._tokenizer.image)
        if found != count:
            raise UserError(f"the chat template makes room for {found} images, the observation has {count}")
        return before, after

    def _filled(self, instruction: str, count: int) -> str:
        if self._template is None:
            image = self._plain.image.format(token=self._tokenizer.image)
            form = {"images": image * count, "bos": self._tokenizer.bos, "instruction": instruction}
            return self._plain.text.format(**form)
        content: list[dict[str, Any]] = [*({"type": "image"} for _ in range(count))]
        message = {"role": "user", "content": [*content, {"type": "text", "text": instruction}]}
        try:  # in transformers' own sandbox: a template is data, and reaches nothing but what it is given
            texts, _ = render_jinja_template(
                [[message]], chat_template=self._template, add_generation_prompt=True, **self._tokenizer.named
            )
        except (TemplateError, TypeError, ValueError, AttributeError, json.JSONDecodeError) as error:
            raise UserError(f"the chat template cannot be filled in ({error})") from error
        return str(texts[0])

    def _segments(
        self, before: str, instruction: str, after: str, images: Sequence[Sequence[Piece]]
    ) -> Iterator[tuple[str, _Segment]]:
        position, rest = 0, iter(images)
        for text, part in ((before, Part.PROMPT), (instruction, Part.INSTRUCTION), (after, Part.PROMPT)):
            for index, words in enumerate([text] if part is Part.INSTRUCTION else text.split(self._tokenizer.image)):
                for piece in next(rest) if index else ():
                    filled, segment = self._image(piece, position)
                    position = segment.stop
                    yield filled, segment
                if words:
                    yield words, _Segment(position, position + len(words), part, part.value)
                    position += len(words)

    def _image(self, piece: Piece, start: int) -> tuple[str, _Segment]:
        if isinstance(piece, Marker):
            return piece.text, _Segment(start, start + len(piece.text), Part.SPECIAL, piece.name)
        text = self._tokenizer.image * (piece.rows * piece.columns)
        return text, _Segment(start, start + len(text), Part.IMAGE, piece.camera, piece)

    def _named(self, encoding: Any, text: str, segments: Sequence[_Segment]) -> Prompt:
        texts: list[str] = []
        spans: list[Span] = []
        starts = [segment.start for segment in segments]
        image = 0  # patches of the running image
        for token, (left, right) in zip(encoding.ids, encoding.offsets, strict=True):
            segment = _at(segments, starts, left, right)
            if segment.grid is not None:
                image = image + 1 if spans and spans[-1].grid is segment.grid else 0
                row, column = divmod(image, segment.grid.columns)
                texts.append(f"{segment.name} {row},{column}")
                _extend(spans, segment.part, segment.name, len(texts), segment.grid)
            elif self._is_control(token, text[left:right]):
                own = self._tokenizer.special[token]
                texts.append(segment.name if segment.part is Part.SPECIAL else own)
                spans.append(Span(Part.SPECIAL, texts[-1], len(texts) - 1, len(texts)))
            else:
                unknown = " (unknown)" if token == self._tokenizer.unknown else ""
                texts.append(visible(text[left:right]) + unknown)
                _extend(spans, segment.part, segment.name, len(texts), None)
        prompt = Prompt(tuple(encoding.ids), TokenLayout(tuple(texts), tuple(spans)))
        _check_runs(prompt.layout, self._tokenizer.image)
        return prompt

    def _is_control(self, token: int, text: str) -> bool:
        """Whether it was written as one, or added; an unknown word is no control token, whatever stands for it."""
        return token in self._tokenizer.special and text.strip() in ("", self._tokenizer.special[token])


def _at(segments: Sequence[_Segment], starts: Sequence[int], left: int, right: int) -> _Segment:
    """What characters [left, right) belong to; a token that reaches into the instruction is part of it."""
    first = max(bisect_right(starts, left) - 1, 0)
    for segment in segments[first : bisect_right(starts, max(right - 1, left))]:
        if segment.part is Part.INSTRUCTION and right > left:
            return segment
    return segments[first]


def _extend(spans: list[Span], part: Part, name: str, stop: int, grid: PatchGrid | None) -> None:
    """One more token up to ``stop``: of the last span where it is the same thing, else of a new one."""
    last = spans[-1] if spans else None
    same = last is not None and (last.part, last.name) == (part, name) and last.grid is grid
    if last is not None and same:
        spans[-1] = Span(part, name, last.start, stop, grid)
    else:
        spans.append(Span(part, name, stop - 1, stop, grid))


def _check_runs(layout: TokenLayout, image: str) -> None:
    for span in layout.spans:
        if span.grid is not None and span.stop - span.start != span.grid.rows * span.grid.columns:
            raise UserError(
                f"the tokenizer makes {span.stop - span.start} tokens of {span.grid.rows * span.grid.columns} times "
                f"{image}; expected one each"
            )
