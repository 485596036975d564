"""Policies with a planted truth: what the action depends on is known by construction, and attention may lie. No torch.

They test explanations: a good method finds the planted patch or word, and a good verdict is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from models.errors import UserError
from models.knock_out import Cut, HeadCut, check_cuts, closed_entries
from models.rationale_text import UNNAMED
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
Said = tuple[tuple[str, str], ...]  # parts of a rationale: name, words
GRID = 4  # patches a side
BINS = np.linspace(0.0, 1.0, 21)  # of each of the two action dimensions
WIDTH = 0.08  # of the odds around the chosen value: bins fall off as exp(-|bin - value| / WIDTH)
LOW, HIGH = 0.2, 0.8  # values of an action that a word decides
MIDDLE = 0.5  # value of an action that nothing decides
WORD, BEGIN, FIRST_ACTION = 3, 1, 10  # ids: any spoken word, the token before the action, the bin at 0.0
LAYERS, HEADS, NAMES = 2, 2, ("reach", "grip")


@dataclass(frozen=True)
class Planted:
    """Reads 4 x 4 patches, <bos> and the instruction, says ``says``, then two action tokens of equal value. Knockable.

    The value is the mean brightness in [0, 1] of patch ``patch``; or 0.8 where ``word`` stands in the instruction (or
    in the rationale that is said) and 0.2 where not; or always 0.5. Attention of every head rests by 0.8 on the place
    that decides, or, where it lies, on ``lie``, another patch; the rest is even.

    What decides is read by the rows that produce the actions, by every head of every layer alike, whatever the
    attention says: knocked out in a share of them, the value is moved by that share to what it is without (0.5 of a
    patch, 0.2 of a word).
    """

    cause: Cause
    patch: int = 5
    word: str = "red"
    lies: bool = False
    lie: int = 10
    says: Said = (("observation", "i see the red cup"), ("planning", "next to the open gripper"))
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
        return self.predict_without(observation, (), capture, force)

    def predict_without(
        self,
        observation: Observation,
        cuts: Sequence[Cut],
        capture: Capture | None = None,
        force: Rationale | str | None = None,
    ) -> Prediction:
        """See `models.policy.Knockable`."""
        check_cuts(cuts, self.info)
        parts, prompt = self._said(force), self.layout(observation)
        said = tuple(word for _, words in parts for word in words.split())
        layout = _answered(prompt, parts)
        closed = _closed(cuts, layout, len(prompt.tokens))
        without, value = self._without, self.value(observation, said)
        value = without + (value - without) * self._read(closed, cuts, layout)
        odds = np.exp(-np.abs(BINS - value) / WIDTH)
        odds /= odds.sum()
        chosen = int(odds.argmax())
        valued = (f"{name} {BINS[chosen]:+.3g}" for name in NAMES)
        layout = replace(layout, tokens=(*layout.tokens[: -len(NAMES)], *valued))
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
            rationale=Rationale(dict(parts), author=self.info.digest) if said else None,
            action_distribution=tuple(
                ActionDistribution(token, 0, name, BINS, odds, mass=1.0)
                for token, name in zip(acting, NAMES, strict=True)
            ),
            layout=layout,
            attention=(self._rows(layout, len(prompt.tokens), capture, closed),) if capture else (),
        )

    def value(self, observation: Observation, said: tuple[str, ...]) -> float:
        """The action before it is rounded to a bin."""
        if self.cause == "patch":
            return float(_patch_means(_only(observation)[1])[self.patch])
        if self.cause == "word":
            return HIGH if self.word in observation.instruction.split() else LOW
        if self.cause == "rationale word":
            return HIGH if self.word in said else LOW
        return MIDDLE

    @property
    def _without(self) -> float:
        """The value of an action that does not see what decides."""
        return LOW if self.cause in ("word", "rationale word") else MIDDLE

    def _read(self, closed: Bool[np.ndarray, "L A K K"], cuts: Sequence[Cut], layout: TokenLayout) -> float:
        """The share of all heads through which the actions' rows still read what decides."""
        row = int(layout.positions(Part.ACTION)[0]) - 1
        deciding = self._deciding(layout)
        reads = np.ones((LAYERS, HEADS), bool)
        if len(deciding):
            reads &= ~closed[:, :, row, deciding].all(axis=-1)
        for cut in cuts:
            if isinstance(cut, HeadCut):
                reads[cut.layer, cut.head] = False
        return float(reads.mean())

    def randomised(self, seed: int) -> Planted:
        """A copy that decides by another patch, drawn with ``seed``: what new weights would make of it."""
        others = [patch for patch in range(GRID * GRID) if patch != self.patch]
        patch = int(np.random.default_rng(seed).choice(others))
        return Planted(self.cause, patch, self.word, self.lies, self.lie, self.says)

    def _said(self, force: Rationale | str | None) -> Said:
        if force is None:
            return self.says
        if not self.says:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        parts = {UNNAMED: force} if isinstance(force, str) else force.parts
        return tuple((name, words) for name, words in parts.items() if words.split())

    def _rows(
        self, layout: TokenLayout, prompt: int, capture: Capture, closed: Bool[np.ndarray, "L A K K"]
    ) -> AttentionRecord:
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
        rows[closed[np.ix_(layers, range(HEADS), asked)]] = 0
        left = rows.sum(-1, keepdims=True)
        rows = np.divide(rows, left, out=np.zeros_like(rows), where=left > 0)
        return AttentionRecord(rows, layers, tuple(asked), tuple(query - (prompt - 1) for query in asked), layout)

    def _looked_at(self, layout: TokenLayout, query: int) -> int | None:
        """The position that attention rests on; None: it is even."""
        if self.lies:
            return self.lie
        found = self._deciding(layout)
        return int(found[0]) if len(found) and found[0] <= query else None

    def _deciding(self, layout: TokenLayout) -> Int[np.ndarray, " n"]:
        """Positions of what the action depends on."""
        if self.cause == "patch":
            return np.array([self.patch])
        part = {"word": Part.INSTRUCTION, "rationale word": Part.RATIONALE}.get(self.cause)
        places = layout.positions(part) if part else np.zeros(0, np.int64)
        return places[[layout.tokens[place] == self.word for place in places]] if len(places) else places


def _only(observation: Observation) -> tuple[str, np.ndarray]:
    if len(observation.images) != 1:
        raise UserError(f"a planted policy reads one image, the observation has {len(observation.images)}")
    return next(iter(observation.images.items()))


def _patch_means(frame: np.ndarray) -> Float[np.ndarray, " 16"]:
    """Mean brightness in [0, 1] of every patch, row by row."""
    rows = np.array_split(frame.astype(np.float64) / 255, GRID, axis=0)
    return np.array([patch.mean() for row in rows for patch in np.array_split(row, GRID, axis=1)])


def _answered(prompt: TokenLayout, parts: Said) -> TokenLayout:
    """The prompt, then what is said; actions without their values."""
    texts, spans = list(prompt.tokens), list(prompt.spans)
    for name, words in parts:
        texts += words.split()
        spans.append(Span(Part.RATIONALE, name, spans[-1].stop, len(texts)))
    for part, name in ((Part.SPECIAL, "<act>"), *((Part.ACTION, name) for name in NAMES)):
        texts.append(name)
        spans.append(Span(part, name, len(texts) - 1, len(texts)))
    return TokenLayout(tuple(texts), tuple(spans))


def _closed(cuts: Sequence[Cut], layout: TokenLayout, prompt: int) -> Bool[np.ndarray, "L A K K"]:
    """Entries that routes close. Raises UserError for a route that closes none."""
    total = len(layout.tokens)
    closed, back = np.zeros((LAYERS, HEADS, total, total), bool), np.tri(total, dtype=bool)
    for cut in cuts:
        if isinstance(cut, HeadCut):
            continue
        entries = closed_entries(cut, layout, prompt) & back
        if not entries.any():
            raise UserError(f"the knock-out {cut} cut nothing: no such position looks at any such position")
        layers, heads = cut.layers or range(LAYERS), cut.heads or range(HEADS)
        closed[np.ix_(layers, heads)] |= entries
    return closed
