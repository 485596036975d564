"""What a SmolVLA policy reads before it acts: images of the cameras, the instruction, the state as one token.

Positions that the published code masks out are left out: absent cameras, padded words and the padding behind the state.
No position looks at them and they take no number in the order, so nothing else changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tokenizers import Tokenizer

from models.checkpoint_files import CheckpointFiles, companion
from models.errors import UserError
from models.families.action_token_prompt import LONGEST_TEXT, read_tokenizer, token_id
from models.families.lerobot_folder import LerobotFolder
from models.families.smolvla_config import Backbone, SmolVLAConfig
from models.types import Observation, Part, PatchGrid, Span, TokenLayout

FAKE_IMAGE, GLOBAL_IMAGE = "<fake_token_around_image>", "<global-img>"
EMPTY = "empty camera"  # what the marks around an absent camera's image are called


@dataclass(frozen=True)
class SeenFrame:
    """A camera's frame and how it is letterboxed: scaled to ``height`` x ``width``, then padded at the left and top."""

    camera: str  # its name in the observation
    feature: str  # LeRobot's name
    frame: UInt8[np.ndarray, "H W 3"]
    height: int
    width: int
    padded: tuple[int, int]  # height, width of what the vision tower sees

    @property
    def left(self) -> int:
        return self.padded[1] - self.width

    @property
    def top(self) -> int:
        return self.padded[0] - self.height

    def grid(self, pixels: int) -> PatchGrid:
        """Tokens or patches of ``pixels`` x ``pixels`` seen pixels, on the original frame."""
        across, down = self.frame.shape[1] / self.width, self.frame.shape[0] / self.height
        box = (-self.left * across, -self.top * down, float(self.frame.shape[1]), float(self.frame.shape[0]))
        return PatchGrid(self.camera, self.padded[0] // pixels, self.padded[1] // pixels, box)


@dataclass(frozen=True)
class Piece:
    """Positions that are embedded together: an image, or token ids."""

    image: int | None = None  # index in Prompt.frames
    ids: tuple[int, ...] = ()
    words: bool = False  # of the instruction, whose embeddings are scaled; marks around images are not


@dataclass(frozen=True)
class Stretch:
    """A piece with the texts of its positions and their spans, counted from its own start."""

    texts: tuple[str, ...]
    spans: tuple[Span, ...]
    piece: Piece


@dataclass(frozen=True)
class Prompt:
    """Everything that is read before the chunk, in order; the state's one position is the last."""

    layout: TokenLayout
    frames: tuple[SeenFrame, ...]
    pieces: tuple[Piece, ...]


class PromptBuilder:
    """Observation to prompt. Holds no state between calls."""

    def __init__(self, files: CheckpointFiles, folder: LerobotFolder, config: SmolVLAConfig, backbone: Backbone):
        """Raises UserError for a tokenizer that is not there or cannot be read."""
        self._folder, self._config, self._backbone = folder, config, backbone
        source = backbone.files.model
        if _last(config.tokenizer) != _last(config.backbone):
            source = companion(files.folder, config.tokenizer, "the model whose tokenizer it uses")
        self._tokenizer = read_tokenizer(source)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if config.max_tokens is not None:
            self._tokenizer.enable_truncation(config.max_tokens)
        self._unknown = _unknown_token(self._tokenizer)
        self._marks = _marks(self._tokenizer, backbone.files.model) if config.image_marks else None

    def __call__(self, observation: Observation) -> Prompt:
        """Raises UserError for cameras, frames or an instruction that the policy cannot read."""
        frames = self._frames(observation)
        stretches = [each for index, seen in enumerate(frames) for each in self._image(index, seen)]
        for _ in range(min(self._config.empty_cameras, self._absent(len(frames)))):
            stretches += self._marked(EMPTY, [])
        stretches += self._words(observation.instruction)
        tokens: list[str] = []
        spans: list[Span] = []
        for each in stretches:
            start = len(tokens)
            spans += [Span(s.part, s.name, start + s.start, start + s.stop, s.grid) for s in each.spans]
            tokens += each.texts
        state = Span(Part.STATE, "state", len(tokens), len(tokens) + 1)
        layout = TokenLayout((*tokens, "state"), (*spans, state))
        return Prompt(layout, frames, tuple(each.piece for each in stretches))

    def _frames(self, observation: Observation) -> tuple[SeenFrame, ...]:
        found = self._folder.found_cameras(tuple(observation.images))
        frames = tuple(self._seen(name, feature, observation.images[name]) for feature, name in found.items())
        sizes = {seen.padded for seen in frames}
        if len(sizes) > 1:
            raise UserError(f"the frames have different sizes ({sizes}); this policy takes frames of one size")
        self._backbone.check_image(*frames[0].padded)
        return frames

    def _seen(self, camera: str, feature: str, frame: UInt8[np.ndarray, "H W 3"]) -> SeenFrame:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise UserError(f"the image {camera!r} must be a uint8 array of height x width x 3 (RGB), found {found}")
        if 0 in frame.shape:
            raise UserError(f"the image {camera!r} has no pixels: its shape is {frame.shape}")
        height, width = frame.shape[:2]
        if self._config.image_size is None:
            return SeenFrame(camera, feature, frame, height, width, (height, width))
        high, wide = self._config.image_size
        ratio = max(width / wide, height / high)
        scaled = int(height / ratio), int(width / ratio)
        if 0 in scaled:
            raise UserError(
                f"the image {camera!r} of {height} x {width} pixels is too narrow to be scaled to {wide} wide"
            )
        return SeenFrame(camera, feature, frame, *scaled, (high, wide))

    def _absent(self, present: int) -> int:
        """Cameras that the policy knows and the observation lacks; the empty ones always are."""
        named = {name for name, feature in self._folder.inputs.items() if feature.kind == "VISUAL"}
        named |= {f"observation.images.empty_camera_{index}" for index in range(self._config.empty_cameras)}
        return len(named) - present

    def _image(self, index: int, seen: SeenFrame) -> list[Stretch]:
        grid = seen.grid(self._backbone.pixels)
        places = [(row, column) for row in range(grid.rows) for column in range(grid.columns)]
        texts = tuple(f"{seen.camera} {row},{column}" for row, column in places)
        span = Span(Part.IMAGE, seen.camera, 0, len(texts), grid)
        return self._marked(seen.camera, [Stretch(texts, (span,), Piece(image=index))])

    def _marked(self, camera: str, image: list[Stretch]) -> list[Stretch]:
        """``image`` between its marks, where the policy has some. Those of an absent camera are not masked out."""
        if self._marks is None:
            return image
        fake, whole = self._marks
        before = Stretch(
            (FAKE_IMAGE, GLOBAL_IMAGE), (Span(Part.SPECIAL, f"{camera} start", 0, 2),), Piece(ids=(fake, whole))
        )
        after = Stretch((FAKE_IMAGE,), (Span(Part.SPECIAL, f"{camera} end", 0, 1),), Piece(ids=(fake,)))
        return [before, *image, after]

    def _words(self, instruction: str) -> list[Stretch]:
        if len(instruction) > LONGEST_TEXT:
            raise UserError(f"the instruction has {len(instruction)} characters; at most {LONGEST_TEXT} are read")
        text = instruction if instruction.endswith("\n") else f"{instruction}\n"
        encoding = self._tokenizer.encode(text)
        if not encoding.ids:
            return []
        added = encoding.special_tokens_mask
        texts = [
            self._said(token, text[slice(*place)]) for token, place in zip(encoding.ids, encoding.offsets, strict=True)
        ]
        last = max((index for index, special in enumerate(added) if not special), default=-1)
        spans: list[Span] = []
        for index, special in enumerate(added):
            part, name = (Part.SPECIAL, texts[index]) if special else (Part.INSTRUCTION, "instruction")
            if index == last and texts[index].startswith("\\n"):
                part, name = Part.PROMPT, "new line"
            if spans and (spans[-1].part, spans[-1].name) == (part, name):
                spans[-1] = Span(part, name, spans[-1].start, index + 1)
            else:
                spans.append(Span(part, name, index, index + 1))
        return [Stretch(tuple(texts), tuple(spans), Piece(ids=tuple(encoding.ids), words=True))]

    def _said(self, token: int, written: str) -> str:
        """A token as a person should read it; ``written``: the characters it stands for, often without white space."""
        decoded = self._tokenizer.decode([token], skip_special_tokens=False)
        said = written.strip() or decoded.strip() or repr(decoded)[1:-1]
        return f"{said} (unknown)" if token == self._unknown else said


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    name = getattr(tokenizer.model, "unk_token", None)
    return tokenizer.token_to_id(name) if name else None


def _marks(tokenizer: Tokenizer, folder: Path) -> tuple[int, int]:
    """Ids of the two special tokens that stand around images, by the names that tokenizer_config.json gives them."""
    file = folder / "tokenizer_config.json"
    named: Mapping[str, object] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    extra = named.get("extra_special_tokens")
    named = {**named, **extra} if isinstance(extra, dict) else named
    fake, whole = named.get("fake_image_token", FAKE_IMAGE), named.get("global_image_token", GLOBAL_IMAGE)
    where = f"{folder}: add_image_special_tokens"
    return token_id(tokenizer, str(fake), where), token_id(tokenizer, str(whole), where)


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
