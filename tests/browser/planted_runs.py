"""Stored runs that can be worked out: several cameras and denoising steps, tiles and a vision tower, text alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from analysis.records import capture_key
from analysis.workspace import Workspace
from models.fake_chunk import PlantedChunkPolicy
from models.types import AttentionRecord, Capture, CheckpointSpec, Part, PatchGrid, Prediction, Span, TokenLayout

SIZE = 256
WORDS = ("a", "red", "square")
ON_WHOLE, ON_TILE = 0.1, 0.6  # of every word's row: on patch 0 of the whole image, on patch 3 of the right tile


def store_chunk_run(workspace: Path, episode: str, checkpoint: CheckpointSpec) -> None:
    """What `PlantedChunkPolicy` says of an episode with the cameras "front" and "wrist", with all rows."""
    policy, opened = PlantedChunkPolicy(), Workspace.open(workspace)
    found = opened.episode(episode)
    run = opened.records.run(
        capture_key(checkpoint.digest, found.meta.digest, Capture(queries=tuple(Part), prefix=True))
    )
    for step in range(found.meta.length):
        run.write(step, policy.predict(found.step(step).observation, Capture(queries=tuple(Part), prefix=True)))
    run.finish(found.meta.length)


def store_text_run(workspace: Path, episode: str, checkpoint: CheckpointSpec, camera: str) -> None:
    """What a model without actions might say of one camera that it reads as a whole and in two tiles."""
    opened = Workspace.open(workspace)
    found = opened.episode(episode)
    run = opened.records.run(capture_key(checkpoint.digest, found.meta.digest, Capture(vision=True)))
    for step in range(found.meta.length):
        run.write(step, text_prediction(camera))
    run.finish(found.meta.length)


def text_prediction(camera: str) -> Prediction:
    """Twelve patches (whole, left half, right half), <bos>, two words read, three words written."""
    boxes = ((0.0, 0.0, SIZE, SIZE), (0.0, 0.0, SIZE / 2, SIZE), (SIZE / 2, 0.0, SIZE, SIZE))
    images = [Span(Part.IMAGE, camera, 4 * i, 4 * i + 4, PatchGrid(camera, 2, 2, box)) for i, box in enumerate(boxes)]
    read = [Span(Part.SPECIAL, "bos", 12, 13), Span(Part.INSTRUCTION, "instruction", 13, 15)]
    spans = (*images, *read, Span(Part.RATIONALE, "text", 15, 18))
    layout = TokenLayout((*(f"{camera} {i}" for i in range(12)), "<bos>", "what", "is", *WORDS), spans)
    weights = np.zeros((2, 2, 3, 18), np.float32)
    weights[..., 0], weights[..., 11], weights[..., 12] = ON_WHOLE, ON_TILE, 1 - ON_WHOLE - ON_TILE
    language = AttentionRecord(weights, (0, 1), (14, 15, 16), (0, 1, 2), layout)
    seen = TokenLayout(layout.tokens[:4], (Span(Part.IMAGE, camera, 0, 4, images[0].grid),))
    turned = np.tile(np.roll(np.eye(4, dtype=np.float32), 1, axis=1), (1, 2, 1, 1))  # every patch looks at the next
    vision = AttentionRecord(turned, (0,), (0, 1, 2, 3), (-1,) * 4, seen, "vision")
    return Prediction(
        actions=np.zeros((0, 0)),
        action_names=(),
        action_units=(),
        tokens=np.arange(3),
        token_texts=WORDS,
        token_logprobs=np.full(3, -0.5),
        text=" ".join(WORDS),
        rationale=None,
        action_distribution=(),
        layout=layout,
        attention=(language, vision),
    )
