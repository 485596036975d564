"""Policies with a planted truth: what the action depends on is known by construction, and attention may lie. No torch.

They test explanations: a good method finds the planted patch or word, and a good verdict is right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from models.errors import UserError
from models.types import (
    ActionDistribution,
    ActionSpace,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    Observation,
    Part,
    PatchGrid,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)

Cause = Literal["patch", "word", "rationale word", "nothing"]
GRID = 4  # patches a side
BINS = np.linspace(0.0, 1.0, 21)  # of each of the two action dimensions
WIDTH = 0.08  # of the odds around the chosen value: bins fall off as exp(-|bin - value| / WIDTH)
LOW, HIGH = 0.2, 0.8  # values of an action that a word decides
WORD, BEGIN, FIRST_ACTION = 3, 1, 10  # ids: any spoken word, the token before the action, the bin at 0.0
LAYERS, HEADS, NAMES = 2, 2, ("reach", "grip")


@dataclass(frozen=True)
class Planted:
    """Reads 4 x 4 patches, <bos> and the instruction, says ``says``, then two action tokens of equal value.

    The value is the mean brightness in [0, 1] of patch ``patch``; or 0.8 where ``word`` stands in the instruction (or
    in the rationale that is said) and 0.2 where not; or always 0.5. Attention of every head rests by 0.8 on the place
    that decides, or, where it lies, on ``lie``, another patch; the rest is even.
    """

    cause: Cause
    patch: int = 5
    word: str = "red"
    lies: bool = False
    lie: int = 10
    says: tuple[str, ...] = ("i", "see", "the", "red", "cup", "next", "to", "the", "open", "gripper")
    info: CheckpointSpec = field(init=False)

    def __post_init__(self) -> None:
        text = f"planted {self.cause} {self.patch} {self.word} {self.lies} {self.lie} {self.says}"
        spec = CheckpointSpec(
            path="",
            family="fake",
            name=f"planted {self.cause}{', lying' if self.lies else ''}",
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            parameters=0,
            dtype="float32",
            layers=LAYERS,
            heads=HEADS,
            vision_layers=0,
            vision_heads=0,
            patch_grid=(GRID, GRID),
            image_size=(GRID, GRID),
            cameras=(),
            action_space=ActionSpace(NAMES, ("1", "1"), (0.0, 0.0), (1.0, 1.0), bins=len(BINS)),
            action_stats=("planted",),
            generates_rationale=bool(self.says),
        )
        object.__setattr__(self, "info", spec)

    def layout(self, observation: Observation) -> TokenLayout:
        camera, frame = _only(observation)
        words = tuple(observation.instruction.split()) or ("nothing",)
        box = (0.0, 0.0, float(frame.shape[1]), float(frame.shape[0]))
        patches = tuple(f"{camera} {row},{column}" for row in range(GRID) for column in range(GRID))
        image = Span(Part.IMAGE, camera, 0, len(patches), PatchGrid(camera, GRID, GRID, box))
        bos = Span(Part.SPECIAL, "bos", image.stop, image.stop + 1)
        instruction = Span(Part.INSTRUCTION, "instruction", bos.stop, bos.stop + len(words))
        return TokenLayout((*patches, "<bos>", *words), (image, bos, instruction))

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        said = self._said(force)
        value = self.value(observation, said)
        prompt = self.layout(observation)
        odds = np.exp(-np.abs(BINS - value) / WIDTH)
        odds /= odds.sum()
        chosen = int(odds.argmax())
        layout = _answered(prompt, said, BINS[chosen])
        tokens = np.array([WORD] * len(said) + [BEGIN] + [FIRST_ACTION + chosen] * len(NAMES))
        acting = range(len(tokens) - len(NAMES), len(tokens))
        return Prediction(
            actions=np.full((1, len(NAMES)), BINS[chosen]),
            action_names=NAMES,
            action_units=("1", "1"),
            tokens=tokens,
            token_texts=(*said, "<act>", *(f"<a{chosen}>" for _ in NAMES)),
            token_logprobs=np.log([1.0] * (len(said) + 1) + [odds[chosen]] * len(NAMES)),
            text=" ".join(said),
            rationale=Rationale({"observation": " ".join(said)}, author=self.info.digest) if said else None,
            action_distribution=tuple(
                ActionDistribution(token, 0, name, BINS, odds, mass=1.0)
                for token, name in zip(acting, NAMES, strict=True)
            ),
            layout=layout,
            attention=(self._rows(layout, len(prompt.tokens), capture),) if capture else (),
        )

    def value(self, observation: Observation, said: tuple[str, ...]) -> float:
        """The action before it is rounded to a bin."""
        if self.cause == "patch":
            return float(_patch_means(_only(observation)[1])[self.patch])
        if self.cause == "word":
            return HIGH if self.word in observation.instruction.split() else LOW
        if self.cause == "rationale word":
            return HIGH if self.word in said else LOW
        return 0.5

    def randomised(self, seed: int) -> Planted:
        """A copy that decides by another patch, drawn with ``seed``: what new weights would make of it."""
        others = [patch for patch in range(GRID * GRID) if patch != self.patch]
        patch = int(np.random.default_rng(seed).choice(others))
        return Planted(self.cause, patch, self.word, self.lies, self.lie, self.says)

    def _said(self, force: Rationale | str | None) -> tuple[str, ...]:
        if force is None:
            return self.says
        if not self.says:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        return tuple((force if isinstance(force, str) else force.text).split())

    def _rows(self, layout: TokenLayout, prompt: int, capture: Capture) -> AttentionRecord:
        total = len(layout.tokens)
        parts = [span.part for span in layout.spans for _ in range(span.start, span.stop)]
        layers = capture.layers if capture.layers is not None else tuple(range(LAYERS))
        asked = [query for query in range(prompt - 1, total - 1) if parts[query + 1] in capture.queries]
        rows = np.zeros((len(layers), HEADS, len(asked), total), np.float32)
        for index, query in enumerate(asked):
            rows[:, :, index, : query + 1] = 0.2 / (query + 1)
            place = self._looked_at(layout, query)
            rows[:, :, index, place if place is not None else slice(0, query + 1)] += (
                0.8 if place is not None else 0.8 / (query + 1)
            )
        return AttentionRecord(rows, layers, tuple(asked), tuple(query - (prompt - 1) for query in asked), layout)

    def _looked_at(self, layout: TokenLayout, query: int) -> int | None:
        """The position that attention rests on; None: it is even."""
        if self.lies:
            return self.lie
        if self.cause == "patch":
            return self.patch
        part = {"word": Part.INSTRUCTION, "rationale word": Part.RATIONALE}.get(self.cause)
        found = [place for place in layout.positions(part) if layout.tokens[place] == self.word] if part else []
        return int(found[0]) if found and found[0] <= query else None


def _only(observation: Observation) -> tuple[str, np.ndarray]:
    if len(observation.images) != 1:
        raise UserError(f"a planted policy reads one image, the observation has {len(observation.images)}")
    return next(iter(observation.images.items()))


def _patch_means(frame: np.ndarray) -> Float[np.ndarray, " 16"]:
    """Mean brightness in [0, 1] of every patch, row by row."""
    rows = np.array_split(frame.astype(np.float64) / 255, GRID, axis=0)
    return np.array([patch.mean() for row in rows for patch in np.array_split(row, GRID, axis=1)])


def _answered(prompt: TokenLayout, said: tuple[str, ...], value: float) -> TokenLayout:
    start = len(prompt.tokens)
    begin = start + len(said)
    spoken = (Span(Part.RATIONALE, "observation", start, begin),) if said else ()
    acts = tuple(Span(Part.ACTION, name, begin + 1 + place, begin + 2 + place) for place, name in enumerate(NAMES))
    texts = (*prompt.tokens, *said, "<act>", *(f"{name} {value:+.3g}" for name in NAMES))
    return TokenLayout(texts, (*prompt.spans, *spoken, Span(Part.SPECIAL, "<act>", begin, begin + 1), *acts))
