"""Where attention goes while the policy writes its action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from analysis.attention import mean
from analysis.attention_map import image_map, rank_heads
from analysis.attention_share import share_per_span, sink_positions, without_sink
from analysis.evidence.moment import Moment
from analysis.evidence.on_image import grounding_values, single_images
from analysis.evidence.probe import Values
from analysis.records import Setting
from models.policy import Policy
from models.types import AttentionRecord, Part, Prediction

EXPERT = "action expert"
BEST = 3  # heads named as localisation heads at a step


@dataclass(frozen=True)
class AttentionProbe:
    """The mean over all layers, heads and action tokens, and of an action expert over its denoising steps.

    Shares of every kind of token with the sink apart; what falls on the image, compared with the named things; and
    which heads look at one place of an image (``localises LAYER.HEAD``: 1 for the three best of the step). Of several
    cameras every one counts: ``localises LAYER.HEAD on CAMERA``, 1 where it does so best there.
    """

    name: ClassVar[str] = "attention"
    version: ClassVar[int] = 3

    def why_not(self, policy: Policy) -> str | None:
        return None

    def settings(self) -> dict[str, Setting]:
        return {"layers": "all", "heads": "mean", "queries": "action", "localising": BEST}

    def __call__(self, moment: Moment) -> Values:
        records = action_records(moment.answer)
        if not records:
            return {}
        layout = records[0].layout
        row = action_row(records)
        sinks = sink_positions(layout, moment.answer.written)
        shares = share_per_span(row, layout, sinks)
        values = {"sink share": float(shares.sink)}
        for part in (Part.IMAGE, Part.INSTRUCTION, Part.STATE, Part.RATIONALE):
            if len(layout.positions(part)):
                values[f"{part.value} share"] = float(shares.of(part))
        maps = attention_maps(moment)
        return values | grounding_values("attention", moment, maps) | _localising(records, moment)


def action_records(answer: Prediction) -> tuple[AttentionRecord, ...]:
    """Rows that produced actions: the action expert's where there is one, else the language model's."""
    kept = [_acting(entry, answer) for entry in answer.attention if entry.weights.size]
    written = [entry for entry in kept if entry.queries]
    return tuple([entry for entry in written if entry.stream == EXPERT] or written)


def action_row(records: tuple[AttentionRecord, ...]) -> Float[np.ndarray, " K"]:
    """One row over the sequence: the mean over layers, heads, action queries and denoising steps."""
    return np.asarray(np.mean([mean(entry).astype(np.float64).mean(axis=0) for entry in records], axis=0))


def attention_maps(moment: Moment) -> dict[str, Float[np.ndarray, "R C"]]:
    """The mean row on each image, the sink left out."""
    records = action_records(moment.answer)
    if not records:
        return {}
    row = without_sink(action_row(records), sink_positions(records[0].layout, moment.answer.written))
    return {camera: image_map(row, records[0].layout, camera) for camera in single_images(moment)}


def _acting(entry: AttentionRecord, answer: Prediction) -> AttentionRecord:
    """The record with the rows of actions alone."""
    start, acting = len(entry.layout.tokens) - answer.written, set(entry.layout.positions(Part.ACTION).tolist())
    rows = [row for row, token in enumerate(entry.produced) if token >= 0 and start + token in acting]
    queries, produced = (tuple(each[row] for row in rows) for each in (entry.queries, entry.produced))
    return replace(entry, weights=entry.weights[:, :, rows], queries=queries, produced=produced)


def _localising(records: tuple[AttentionRecord, ...], moment: Moment) -> Values:
    cameras = single_images(moment)
    if not cameras:
        return {}
    ranked = rank_heads(records[-1], cameras)
    best = {(score.layer, score.head, score.camera) for score in ranked[:BEST]}
    return {
        f"localises {score.layer}.{score.head}{f' on {camera}' if len(cameras) > 1 else ''}": float(
            (score.layer, score.head, camera) in best
        )
        for score in ranked
        for camera in cameras
    }
