"""Values that flow between policies, analyses and the app. NumPy only: importing this module never imports torch.

Capital letters in shapes are axes: H, W pixels of the original frame; S state values; T steps of an action chunk;
D action dimensions; B bins of an action dimension; N generated tokens; L layers; A heads; Q captured queries;
K positions of the whole sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8


class Part(StrEnum):
    """What a stretch of the sequence is."""

    IMAGE = "image"
    INSTRUCTION = "instruction"
    PROMPT = "prompt"  # fixed words around the instruction
    STATE = "state"  # proprioception
    RATIONALE = "rationale"
    ACTION = "action"
    SPECIAL = "special"  # bos, eos, part markers: the usual attention sinks


@dataclass(frozen=True)
class Observation:
    """One moment, before any model's own preprocessing."""

    images: Mapping[str, UInt8[np.ndarray, "H W 3"]]
    instruction: str
    state: Float[np.ndarray, " S"] | None = None  # units: those of the data set, named in EpisodeMeta.state_names


@dataclass(frozen=True)
class PatchGrid:
    """Where an image's tokens lie on the original frame: undoes resize, crop and letterbox.

    Token number r * columns + c covers the rectangle of row r and column c of ``box``.
    """

    camera: str
    rows: int
    columns: int
    box: tuple[float, float, float, float]  # left, top, right, bottom in pixels of the original frame; may exceed it

    def rectangle(self, index: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of patch ``index`` in pixels of the original frame."""
        if not 0 <= index < self.rows * self.columns:
            raise IndexError(f"patch {index} of a {self.rows} x {self.columns} grid")
        row, column = divmod(index, self.columns)
        left, top, right, bottom = self.box
        width, height = (right - left) / self.columns, (bottom - top) / self.rows
        return (left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height)


@dataclass(frozen=True)
class Span:
    """Positions [start, stop) of the sequence that are one thing."""

    part: Part
    name: str  # camera name, "instruction", a rationale part such as "observation", an action name ...
    start: int
    stop: int
    grid: PatchGrid | None = None  # only for Part.IMAGE


@dataclass(frozen=True)
class TokenLayout:
    """Every position of the sequence named. Spans tile it in order: no gap, no overlap."""

    tokens: tuple[str, ...]  # text of each position as a person should read it; image tokens as "camera r,c"
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        position = 0
        for span in self.spans:
            if span.start != position or span.stop <= span.start:
                found = f"span {span.name!r} covers [{span.start}, {span.stop})"
                raise ValueError(f"{found}, expected a start of {position}")
            position = span.stop
        if position != len(self.tokens):
            raise ValueError(f"spans end at {position}, the sequence has {len(self.tokens)} tokens")

    def positions(self, part: Part) -> Int[np.ndarray, " n"]:
        """All positions whose span is of ``part``, ascending."""
        ranges = [np.arange(span.start, span.stop) for span in self.spans if span.part is part]
        return np.concatenate(ranges) if ranges else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Capture:
    """What to keep of a run; the caller decides how much memory that is."""

    layers: tuple[int, ...] | None = None  # None: all
    queries: tuple[Part, ...] = (Part.ACTION, Part.RATIONALE)  # parts of the tokens that the rows PRODUCED
    prefix: bool = False  # also the rows of the prompt's own positions, which produced nothing (rollout needs them)
    vision: bool = False  # also the vision tower's attention, as records of stream "vision"


@dataclass(frozen=True)
class AttentionRecord:
    """Attention rows; each sums to one over K, which is the whole sequence, zero where a query could not look."""

    weights: Float[np.ndarray, "L A Q K"]
    layers: tuple[int, ...]
    queries: tuple[int, ...]  # position in the layout of the query whose row was kept
    produced: tuple[int, ...]  # which of the positions that the policy wrote this row produced; -1: none (prefix rows)
    layout: TokenLayout
    stream: str = "language"  # "language", "action expert"; "vision", or "vision <tower>" where there are several
    denoising_step: int | None = None  # of a flow-matching policy, 0 first; None: the row belongs to no such step


@dataclass(frozen=True)
class Rationale:
    """An explanation in words, in named parts, for steps [start, stop) of an episode."""

    parts: Mapping[str, str]  # ordered: part name -> text, e.g. "observation", "situation", "spatial", "planning"
    start: int = 0
    stop: int = 1
    author: str = ""  # checkpoint digest, teacher name ...

    @property
    def text(self) -> str:
        return " ".join(text for text in self.parts.values() if text)


RATIONALE_TITLES: Mapping[str, str] = {
    "observation": "Observation",  # the four questions of ReFineVLA's teacher prompt
    "situation": "Situation analysis",
    "spatial": "Spatial reasoning",
    "planning": "Task planning",
    "task": "Task",  # the tags of embodied chain-of-thought (ECoT)
    "plan": "Plan",
    "visible objects": "Visible objects",
    "subtask reasoning": "Subtask reasoning",
    "subtask": "Subtask",
    "move reasoning": "Move reasoning",
    "move": "Move",
    "gripper position": "Gripper position",
}


@dataclass(frozen=True)
class FrameMark:
    """A place that the policy wrote about, to be drawn on the frame."""

    camera: str
    name: str  # what the policy calls it
    kind: Literal["box", "point"]
    at: tuple[float, ...]  # pixels of the original frame: left, top, right, bottom of a box; x, y of a point


@dataclass(frozen=True)
class DepthMap:
    """How far away the policy takes things to be."""

    camera: str
    metres: Float[np.ndarray, "h w"]
    box: tuple[float, float, float, float]  # what it covers: left, top, right, bottom in pixels of the original frame


@dataclass(frozen=True)
class ActionDistribution:
    """What the policy thought of every bin of one action token."""

    token: int  # index in Prediction.tokens
    step: int  # of the chunk
    name: str  # action dimension
    values: Float[np.ndarray, " B"]  # bin centres in robot units
    probabilities: Float[np.ndarray, " B"]  # over the bins, summing to one
    mass: float  # probability that the full vocabulary's softmax gave to all bins together


@dataclass(frozen=True)
class ActionBins:
    """What the ids that may stand at an action token mean for one action dimension."""

    token: int  # index in Prediction.tokens
    step: int  # of the chunk
    name: str  # action dimension
    ids: Int[np.ndarray, " B"]  # of the vocabulary
    values: Float[np.ndarray, " B"]  # what each stands for, robot units; several ids may stand for one value


@dataclass(frozen=True)
class Prediction:
    """Everything that one forward and decoding pass said."""

    actions: Float[np.ndarray, "T D"]  # robot units, after un-normalising; no rows from a model without actions
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    tokens: Int[np.ndarray, " N"]  # generated ids, in the order generated
    token_texts: tuple[str, ...]
    token_logprobs: Float[np.ndarray, " N"]  # natural logarithm, full vocabulary
    text: str  # words the policy generated, raw, without action tokens
    rationale: Rationale | None  # the same, parsed into its parts
    action_distribution: tuple[ActionDistribution, ...]  # in the order of the action tokens
    layout: TokenLayout  # the whole sequence: prompt, then what the policy wrote
    attention: tuple[AttentionRecord, ...] = ()
    marks: tuple[FrameMark, ...] = ()
    depth: tuple[DepthMap, ...] = ()

    @property
    def written(self) -> int:
        """Positions at the end of ``layout`` that the policy wrote: generated tokens, or those of continuous actions.

        A token's row is that of the position before it. Continuous actions have no tokens: from the first position of
        ``Part.ACTION`` on everything is theirs. Where they are denoised, each step of the chunk is a position of its
        own, whose row is the position's own; where they are read off in one forward, as of tokens, the position before.
        """
        if len(self.tokens):
            return len(self.tokens)
        end = len(self.layout.tokens)
        return end - min((span.start for span in self.layout.spans if span.part is Part.ACTION), default=end)


@dataclass(frozen=True)
class ActionSpace:
    """Action dimensions in robot units."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    chunk: int = 1  # steps predicted at once
    bins: int | None = None


@dataclass(frozen=True)
class CheckpointSpec:
    """What a checkpoint's files say, read without loading weights (and without importing torch)."""

    path: str
    family: str
    name: str
    digest: str  # sha256 over configuration, tokenizer and weights files; first 16 hex digits
    parameters: int
    dtype: str
    layers: int
    heads: int
    vision_layers: int
    vision_heads: int
    patch_grid: tuple[int, int]  # rows, columns of the tokens of one image; (0, 0): they depend on the image
    image_size: tuple[int, int]  # height, width of what the vision tower sees; (0, 0): it depends on the image
    cameras: tuple[str, ...]  # empty: one camera under any name, or as `every_camera` says
    action_space: ActionSpace | None
    action_stats: tuple[str, ...]  # data-set keys that action un-normalisation can use
    state_names: tuple[str, ...] = ()
    generates_rationale: bool = False
    every_camera: bool = False  # names none and reads as many images as there are, in their order
    expert_layers: int = 0  # of an action expert beside the language model
    expert_heads: int = 0
    denoising_steps: int = 0  # of a flow-matching policy
    unused: Mapping[str, str] = field(default_factory=dict)  # stored tensors left out on purpose -> why; * for any
    notes: Mapping[str, str] = field(default_factory=dict)
