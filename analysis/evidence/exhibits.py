"""Steps at which two policies differ most, to look at: frame, both attention maps, both actions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from analysis.evidence.comparison import Comparison, DifferingStep
from analysis.evidence.measurements import Subject
from analysis.evidence.moment import Moment
from analysis.evidence.probes.attention import attention_maps
from models.policy import Policy
from models.types import PatchGrid

SIDE = 320  # pixels of the longer side of a picture
OVER = 0.65  # opacity of the overlay at its strongest
COLOUR = np.array([255.0, 196.0, 0.0])


@dataclass(frozen=True)
class Seen:
    """One policy at the step."""

    camera: str  # of the episode
    overlay: bytes  # JPEG: the frame with the attention map over it
    full: float  # attention of the patch with full colour, share of the row without the sink
    actions: tuple[str, ...]  # "x +0.01 m" of each dimension, first step of the chunk
    text: str


@dataclass(frozen=True)
class Exhibit:
    step: DifferingStep
    instruction: str
    frame: bytes  # JPEG: what the first sees
    seen: tuple[Seen, Seen]


def exhibits(
    policies: tuple[Policy, Policy],
    subjects: tuple[Sequence[Subject], Sequence[Subject]],
    comparison: Comparison,
    most: int = 3,
) -> tuple[Exhibit, ...]:
    """The ``most`` steps that differ most; those whose image has no single grid of patches are left out."""
    out = []
    for step in comparison.steps[:most]:
        moments = []
        for policy, own in zip(policies, subjects, strict=True):
            subject = next(each for each in own if each.episode.meta.digest == step.place.digest)
            moments.append(Moment(policy, subject.episode, subject.episode.step(step.place.step), subject.cameras))
        maps = [attention_maps(moment) for moment in moments]
        if not all(maps):
            continue
        frames = [moment.observation.images[next(iter(own))] for moment, own in zip(moments, maps, strict=True)]
        seen = [_seen(moment, own, frame) for moment, own, frame in zip(moments, maps, frames, strict=True)]
        out.append(Exhibit(step, moments[0].observation.instruction, jpeg(frames[0]), (seen[0], seen[1])))
    return tuple(out)


def overlay(
    frame: UInt8[np.ndarray, "H W 3"], map: Float[np.ndarray, "R C"], grid: PatchGrid
) -> UInt8[np.ndarray, "H W 3"]:
    """The map in amber over the frame, opaque in proportion to its value, strongest at its highest patch."""
    height, width = frame.shape[:2]
    left, top, right, bottom = grid.box
    rows = np.floor((np.arange(height) + 0.5 - top) / (bottom - top) * grid.rows).astype(int)
    columns = np.floor((np.arange(width) + 0.5 - left) / (right - left) * grid.columns).astype(int)
    inside = ((rows >= 0) & (rows < grid.rows))[:, None] & ((columns >= 0) & (columns < grid.columns))[None]
    strength = map / map.max() if map.max() > 0 else map
    spread = strength[np.clip(rows, 0, grid.rows - 1)][:, np.clip(columns, 0, grid.columns - 1)]
    opacity = (np.where(inside, spread, 0.0) * OVER)[..., None]
    return (frame * (1 - opacity) + COLOUR * opacity).round().astype(np.uint8)


def jpeg(frame: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The frame, its longer side `SIDE` pixels."""
    scale = SIDE / max(frame.shape[:2])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    out = io.BytesIO()
    Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR).save(out, "JPEG", quality=88)
    return out.getvalue()


def _seen(moment: Moment, maps: dict[str, Float[np.ndarray, "R C"]], frame: UInt8[np.ndarray, "H W 3"]) -> Seen:
    camera, map = next(iter(maps.items()))
    grid, said = moment.grid(camera), moment.answer
    assert grid is not None  # a map has one
    units = said.action_units or ("",) * len(said.action_names)
    actions = (
        ()
        if not len(said.actions)
        else tuple(
            f"{name} {value:+.3g} {unit}".strip()
            for name, value, unit in zip(said.action_names, said.actions[0], units, strict=True)
        )
    )
    seen = moment.cameras.episode_names.get(camera, camera)
    return Seen(seen, jpeg(overlay(frame, map, grid)), float(map.max()), actions, said.text)
