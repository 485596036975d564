"""A continuous policy simple enough to work out by hand: two cameras, a chunk of actions, denoising steps. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from models.errors import UserError
from models.types import (
    ActionSpace,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    DepthMap,
    FrameMark,
    Observation,
    Part,
    PatchGrid,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)

GRID, CHUNK, DENOISING = 2, 4, 3  # patches a side, steps of the chunk, denoising steps
CAMERAS = ("front", "wrist")
ON_PATCH, ON_STATE = (0.2, 0.4, 0.6), 0.3  # head 0, the first by denoising step; what is left goes to <bos>
SPEC = CheckpointSpec(
    path="",
    family="fake",
    name="planted chunk",
    digest="1" * 16,
    parameters=0,
    dtype="float32",
    layers=2,
    heads=2,
    vision_layers=0,
    vision_heads=0,
    patch_grid=(GRID, GRID),
    image_size=(GRID, GRID),
    cameras=CAMERAS,
    action_space=ActionSpace(("reach", "grip"), ("m", "1"), (-1.0, 0.0), (1.0, 1.0), chunk=CHUNK),
    action_stats=("planted",),
    state_names=("reach",),
    expert_layers=2,
    expert_heads=2,
    denoising_steps=DENOISING,
)


@dataclass(frozen=True)
class PlantedChunkPolicy:
    """Looks at the brightest of 2 x 2 patches of each camera and reaches for it over four steps.

    The sequence is 4 patches of "front", 4 of "wrist", <bos>, the instruction's words, one state token, and a position
    for each step of the chunk. With f and w the brightest patch's mean in [0, 1], step s = 0..3 of the chunk is
    reach = state + (s + 1) f / 10 and grip = w. In both layers of the action expert head 0 puts 0.2, 0.4 or 0.6 (by
    denoising step) on that patch of "front" for even s, of "wrist" for odd s, 0.3 on the state token and the rest on
    <bos>; head 1 looks evenly at the whole sequence. In the language model both heads look evenly at the whole prompt.
    The depth of a patch of "front" is 2 - its mean, in metres; a box marks its brightest patch, a point "wrist"'s.
    """

    info: CheckpointSpec = field(default=SPEC)

    def layout(self, observation: Observation) -> TokenLayout:
        frames = _frames(observation)
        words = tuple(observation.instruction.split()) or ("nothing",)
        tokens: list[str] = []
        spans: list[Span] = []
        for camera, frame in frames.items():
            box = (0.0, 0.0, float(frame.shape[1]), float(frame.shape[0]))
            grid = PatchGrid(camera, GRID, GRID, box)
            spans.append(Span(Part.IMAGE, camera, len(tokens), len(tokens) + GRID * GRID, grid))
            tokens += [f"{camera} {row},{column}" for row in range(GRID) for column in range(GRID)]
        for part, name, texts in (
            (Part.SPECIAL, "bos", ("<bos>",)),
            (Part.INSTRUCTION, "instruction", words),
            (Part.STATE, "state", (f"{_reach(observation):+.3g}",)),
        ):
            spans.append(Span(part, name, len(tokens), len(tokens) + len(texts)))
            tokens += texts
        return TokenLayout(tuple(tokens), tuple(spans))

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        if force is not None:
            raise UserError("the fake chunk policy writes no rationale, so none can be forced on it")
        prompt = self.layout(observation)
        means = {camera: _patch_means(frame) for camera, frame in _frames(observation).items()}
        layout = _with_chunk(prompt)
        front, wrist = (float(means[camera].max()) for camera in CAMERAS)
        reach = _reach(observation) + np.arange(1, CHUNK + 1) * front / 10
        grids = {span.name: span.grid for span in prompt.spans if span.grid is not None}
        brightest = {camera: int(means[camera].argmax()) for camera in CAMERAS}
        return Prediction(
            actions=np.stack([reach, np.full(CHUNK, wrist)], axis=1),
            action_names=("reach", "grip"),
            action_units=("m", "1"),
            tokens=np.zeros(0, np.int64),
            token_texts=(),
            token_logprobs=np.zeros(0),
            text="",
            rationale=None,
            action_distribution=(),
            layout=layout,
            attention=self._rows(layout, len(prompt.tokens), brightest, capture) if capture else (),
            marks=_marks(grids, brightest),
            depth=(DepthMap("front", 2 - means["front"].reshape(GRID, GRID), grids["front"].box),),
        )

    def _rows(
        self, layout: TokenLayout, prompt: int, brightest: dict[str, int], capture: Capture
    ) -> tuple[AttentionRecord, ...]:
        if capture.vision:
            raise UserError("the fake chunk policy has no vision tower, so there is no vision attention to keep")
        layers = capture.layers if capture.layers is not None else tuple(range(self.info.layers))
        for layer in layers:
            if not 0 <= layer < self.info.layers:
                raise UserError(f"there is no layer {layer}; the fake chunk policy has layers 0 and 1")
        records: list[AttentionRecord] = []
        total = len(layout.tokens)
        if capture.prefix:
            even = np.zeros((len(layers), 2, prompt, total), np.float32)
            even[..., :prompt] = 1 / prompt
            records.append(AttentionRecord(even, layers, tuple(range(prompt)), (-1,) * prompt, layout))
        if Part.ACTION in capture.queries:
            queries, produced = tuple(range(prompt, total)), tuple(range(CHUNK))
            for denoising in range(DENOISING):
                rows = np.stack([_planted(step, denoising, prompt, brightest) for step in produced], axis=1)
                weights = np.repeat(rows[None], len(layers), axis=0).astype(np.float32)
                records.append(AttentionRecord(weights, layers, queries, produced, layout, "action expert", denoising))
        return tuple(records)


def _frames(observation: Observation) -> dict[str, np.ndarray]:
    if missing := [camera for camera in CAMERAS if camera not in observation.images]:
        found = ", ".join(observation.images) or "none"
        raise UserError(f"the fake chunk policy reads the camera {missing[0]!r}; the observation has {found}")
    return {camera: observation.images[camera] for camera in CAMERAS}


def _reach(observation: Observation) -> float:
    if observation.state is None or len(observation.state) < 1:
        raise UserError("the fake chunk policy reads a state of one number or more; the observation has none")
    return float(observation.state[0])


def _patch_means(frame: np.ndarray) -> Float[np.ndarray, " 4"]:
    """Mean brightness in [0, 1] of the four quarters, row by row."""
    rows = np.array_split(frame.astype(np.float64) / 255, GRID, axis=0)
    return np.array([patch.mean() for row in rows for patch in np.array_split(row, GRID, axis=1)])


def _with_chunk(prompt: TokenLayout) -> TokenLayout:
    names = tuple(f"step {step}" for step in range(CHUNK))
    start = len(prompt.tokens)
    spans = (Span(Part.ACTION, name, start + step, start + step + 1) for step, name in enumerate(names))
    return TokenLayout((*prompt.tokens, *names), (*prompt.spans, *spans))


def _planted(step: int, denoising: int, prompt: int, brightest: dict[str, int]) -> Float[np.ndarray, "2 K"]:
    """Rows of both heads for a step of the chunk."""
    camera = CAMERAS[step % 2]
    rows = np.zeros((2, prompt + CHUNK))
    rows[0, CAMERAS.index(camera) * GRID * GRID + brightest[camera]] = ON_PATCH[denoising]
    rows[0, prompt - 1] = ON_STATE
    rows[0, len(CAMERAS) * GRID * GRID] = 1 - ON_STATE - ON_PATCH[denoising]
    rows[1] = 1 / rows.shape[1]
    return rows


def _marks(grids: dict[str, PatchGrid], brightest: dict[str, int]) -> tuple[FrameMark, ...]:
    box = grids["front"].rectangle(brightest["front"])
    left, top, right, bottom = grids["wrist"].rectangle(brightest["wrist"])
    middle = ((left + right) / 2, (top + bottom) / 2)
    return (FrameMark("front", "brightest", "box", box), FrameMark("wrist", "target", "point", middle))
