"""A policy simple enough to work out by hand: its attention is planted, its action follows from one patch. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

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

GRID = 2  # patches a side
BINS = np.array([0.0, 0.5, 1.0])  # of the one action dimension, "brightness"
WORD, BEGIN, FIRST_ACTION = 3, 1, 10  # ids: any spoken word, the token before the action, the bin at 0.0
ON_PATCH, ON_WORD, ON_BOS = 0.6, 0.3, 0.1  # head 0; head 1 looks evenly at all there is
SPEC = CheckpointSpec(
    path="",
    family="fake",
    name="planted",
    digest="0" * 16,
    parameters=0,
    dtype="float32",
    layers=2,
    heads=2,
    vision_layers=0,
    vision_heads=0,
    patch_grid=(GRID, GRID),
    image_size=(GRID, GRID),
    cameras=(),
    action_space=ActionSpace(("brightness",), ("1",), (0.0,), (1.0,), bins=len(BINS)),
    action_stats=("planted",),
    generates_rationale=True,
)


@dataclass(frozen=True)
class PlantedPolicy:
    """Looks at the brightest of 2 x 2 patches and says how bright it is.

    The sequence is 4 patches, <bos>, the instruction's words, then "<obs> patch NUMBER" (or what is forced), <act>, and
    one action token: the bin nearest to the brightest patch's mean, in [0, 1]. In both layers head 0 puts 0.6 on that
    patch, 0.3 on the last instruction word and 0.1 on <bos>; head 1 looks evenly at everything up to its query.
    A bin's probability is in proportion to 1 - its distance from that mean; every word has probability 1.
    """

    info: CheckpointSpec = field(default=SPEC)

    def layout(self, observation: Observation) -> TokenLayout:
        frame = _frame(observation)
        height, width = frame.shape[:2]
        camera = next(iter(observation.images))
        words = tuple(observation.instruction.split()) or ("nothing",)
        patches = tuple(f"{camera} {row},{column}" for row in range(GRID) for column in range(GRID))
        box = (0.0, 0.0, float(width), float(height))
        image = Span(Part.IMAGE, camera, 0, len(patches), PatchGrid(camera, GRID, GRID, box))
        bos = Span(Part.SPECIAL, "bos", image.stop, image.stop + 1)
        instruction = Span(Part.INSTRUCTION, "instruction", bos.stop, bos.stop + len(words))
        return TokenLayout((*patches, "<bos>", *words), (image, bos, instruction))

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        prompt = self.layout(observation)
        means = _patch_means(_frame(observation))
        brightest = int(means.argmax())
        chosen = int(np.abs(BINS - means[brightest]).argmin())
        words = _words(force, brightest)
        closeness = 1 - np.abs(BINS - means[brightest])
        probabilities = closeness / closeness.sum()
        layout = _answered(prompt, words, f"brightness {BINS[chosen]:+.3g}")
        tokens = np.array([2, *[WORD] * len(words), BEGIN, FIRST_ACTION + chosen])
        parts = {"observation": " ".join(words)} if words else {}
        return Prediction(
            actions=np.array([[BINS[chosen]]]),
            action_names=("brightness",),
            action_units=("1",),
            tokens=tokens,
            token_texts=("<obs>", *words, "<act>", f"<a{chosen}>"),
            token_logprobs=np.log([1.0] * (len(tokens) - 1) + [probabilities[chosen]]),
            text=" ".join(("<obs>", *words)),
            rationale=Rationale(parts, author=self.info.digest) if parts else None,
            action_distribution=(ActionDistribution(len(tokens) - 1, 0, "brightness", BINS, probabilities, mass=1.0),),
            layout=layout,
            attention=(self._rows(layout, len(prompt.tokens), brightest, capture),) if capture else (),
        )

    def _rows(self, layout: TokenLayout, prompt: int, brightest: int, capture: Capture) -> AttentionRecord:
        if capture.vision:
            raise UserError("the fake policy has no vision tower, so there is no vision attention to keep")
        layers = capture.layers if capture.layers is not None else tuple(range(self.info.layers))
        for layer in layers:
            if not 0 <= layer < self.info.layers:
                raise UserError(f"there is no layer {layer}; the fake policy has layers 0 and 1")
        part_of = [span.part for span in layout.spans for _ in range(span.start, span.stop)]
        asked = [query for query in range(prompt - 1, len(part_of) - 1) if part_of[query + 1] in capture.queries]
        queries = sorted({*asked, *(range(prompt) if capture.prefix else ())})
        rows = np.stack([_planted(query, brightest, prompt, len(part_of)) for query in queries], axis=1)
        produced = tuple(query - (prompt - 1) if query in asked else -1 for query in queries)
        weights = np.repeat(rows[None], len(layers), axis=0).astype(np.float32)
        return AttentionRecord(weights, tuple(layers), tuple(queries), produced, layout)


def _frame(observation: Observation) -> np.ndarray:
    if len(observation.images) != 1:
        raise UserError(f"the fake policy reads one image, the observation has {len(observation.images)}")
    return next(iter(observation.images.values()))


def _patch_means(frame: np.ndarray) -> Float[np.ndarray, " 4"]:
    """Mean brightness in [0, 1] of the four quarters, row by row."""
    rows = np.array_split(frame.astype(np.float64) / 255, GRID, axis=0)
    return np.array([patch.mean() for row in rows for patch in np.array_split(row, GRID, axis=1)])


def _words(force: Rationale | str | None, brightest: int) -> tuple[str, ...]:
    if force is None:
        return ("patch", str(brightest))
    text = force if isinstance(force, str) else force.text
    return tuple(text.removeprefix("<obs>").split())


def _answered(prompt: TokenLayout, words: tuple[str, ...], action: str) -> TokenLayout:
    start = len(prompt.tokens)
    begin = start + 1 + len(words)
    spoken = (Span(Part.RATIONALE, "observation", start + 1, begin),) if words else ()
    spans = (
        Span(Part.SPECIAL, "<obs>", start, start + 1),
        *spoken,
        Span(Part.SPECIAL, "<act>", begin, begin + 1),
        Span(Part.ACTION, "brightness", begin + 1, begin + 2),
    )
    return TokenLayout((*prompt.tokens, "<obs>", *words, "<act>", action), (*prompt.spans, *spans))


def _planted(query: int, brightest: int, prompt: int, length: int) -> Float[np.ndarray, "2 K"]:
    """Rows of both heads. A prompt position before the last word puts that word's share on itself."""
    rows = np.zeros((2, length))
    rows[0, brightest if brightest <= query else query] += ON_PATCH
    rows[0, min(query, prompt - 1)] += ON_WORD
    rows[0, min(query, GRID * GRID)] += ON_BOS
    rows[1, : query + 1] = 1 / (query + 1)
    return rows
