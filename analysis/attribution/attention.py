"""Attention as an attribution: one head, the mean, a top-k fusion, rollout (`analysis.attention`, docs/metrics.md).

Scores are the row of the query that produced the target, the mean of the rows where it has several tokens; attention
is no effect, so nothing here is signed. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from analysis.attention import TopK, mean, one_head, rollout, top_k
from analysis.attribution.attention_rows import captured, of_rows, target_rows, why_no_attention
from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.settings import setting
from analysis.attribution.target import Target
from analysis.cancelled import Asked, Progress
from models.policy import Policy
from models.types import AttentionRecord, Observation, Prediction


@dataclass(frozen=True)
class HeadAttention:
    """The weights of one head of one layer."""

    name: ClassVar[str] = "attention-head"
    title: ClassVar[str] = "Attention of one head"
    signed: ClassVar[bool] = False

    layer: int = setting(0, "layer, 0 first", least=0)
    head: int = setting(0, "head, 0 first", least=0)
    denoising: int | None = setting(None, "denoising step; the last one if empty", least=0)

    def why_not(self, policy: Policy) -> str | None:
        return why_no_attention(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        found, forwards = captured(policy, observation, target, prediction, progress, cancelled, (self.layer,))
        record, rows = target_rows(found, target, self.denoising)
        row = one_head(record, self.layer, self.head)[list(rows)].mean(axis=0)
        return of_rows(self, target, record, row, forwards)


@dataclass(frozen=True)
class MeanAttention:
    """The mean over layers and their heads."""

    name: ClassVar[str] = "attention-mean"
    title: ClassVar[str] = "Mean attention"
    signed: ClassVar[bool] = False

    layers: tuple[int, ...] | None = setting(None, "layers; all if empty", least=0)
    denoising: int | None = setting(None, "denoising step; the last one if empty", least=0)

    def why_not(self, policy: Policy) -> str | None:
        return why_no_attention(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        found, forwards = captured(policy, observation, target, prediction, progress, cancelled, self.layers)
        record, rows = target_rows(found, target, self.denoising)
        return of_rows(self, target, record, mean(record, self.layers)[list(rows)].mean(axis=0), forwards)


@dataclass(frozen=True)
class TopKAttention:
    """Attention fused over the k heads or layers that attend most to the image; the target's rows averaged first."""

    name: ClassVar[str] = "attention-top-k"
    title: ClassVar[str] = "Top-k attention fusion"
    signed: ClassVar[bool] = False

    k: int = setting(4, "how many are fused", least=1)
    layers: tuple[int, ...] | None = setting(None, "layers; all if empty", least=0)
    keep: Literal["heads", "heads of each layer", "layers", "entries"] = setting("heads", "what the k best are among")
    ranked_by: Literal["image attention", "largest image weight"] = setting("image attention", "what ranks them")
    fuse: Literal["mean", "max"] = setting("mean", "how the kept rows are fused")
    camera: str | None = setting(None, "the image that ranks; all images if empty")
    denoising: int | None = setting(None, "denoising step; the last one if empty", least=0)

    def why_not(self, policy: Policy) -> str | None:
        return why_no_attention(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        found, forwards = captured(policy, observation, target, prediction, progress, cancelled, self.layers)
        record, rows = target_rows(found, target, self.denoising)
        averaged = _averaged(record, rows)
        fused = top_k(
            averaged,
            TopK(self.k, self.layers, self.keep, self.ranked_by, fuse=self.fuse, camera=self.camera),
        )
        chosen = ", ".join(f"layer {layer}" + (f" head {head}" if head >= 0 else "") for layer, head in fused.chosen[0])
        return of_rows(self, target, record, fused.rows[0], forwards, {"chosen": chosen} if chosen else None)


@dataclass(frozen=True)
class RolloutAttention:
    """Attention multiplied through all layers, each half identity (Abnar and Zuidema, 2020)."""

    name: ClassVar[str] = "attention-rollout"
    title: ClassVar[str] = "Attention rollout"
    signed: ClassVar[bool] = False

    def why_not(self, policy: Policy) -> str | None:
        if policy.info.denoising_steps:
            return f"{policy.info.name} writes actions in an expert of its own, whose rows rollout cannot pass through"
        return why_no_attention(policy)

    def __call__(
        self,
        policy: Policy,
        observation: Observation,
        target: Target,
        *,
        prediction: Prediction | None = None,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
    ) -> AttributionMap:
        found, forwards = captured(policy, observation, target, prediction, progress, cancelled, prefix=True)
        record, rows = target_rows(found, target)
        flow = rollout(record, [record.queries[row] for row in rows])
        return of_rows(self, target, record, flow.mean(axis=0), forwards)


def _averaged(record: AttentionRecord, rows: tuple[int, ...]) -> AttentionRecord:
    weights = record.weights[:, :, list(rows)].astype(np.float32).mean(axis=2, keepdims=True)
    return replace(record, weights=weights, queries=(record.queries[rows[0]],), produced=(record.produced[rows[0]],))
