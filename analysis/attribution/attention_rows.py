"""The captured rows that produced a target, for methods that show attention itself. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from analysis.attribution.attribution_map import AttributionMap
from analysis.attribution.method import AttributionMethod
from analysis.attribution.settings import settings_of
from analysis.attribution.target import Target, positions_of
from analysis.cancelled import Asked, Progress, check
from analysis.records import Setting
from models.errors import UserError
from models.policy import Policy
from models.types import AttentionRecord, Capture, Observation, Part, Prediction


def why_no_attention(policy: Policy) -> str | None:
    """Every policy keeps attention rows, unless it has no layers to keep them of."""
    return None if policy.info.layers or policy.info.expert_layers else f"{policy.info.name} has no attention layers"


def captured(
    policy: Policy,
    observation: Observation,
    target: Target,
    prediction: Prediction | None,
    progress: Progress | None,
    cancelled: Asked | None,
    layers: Sequence[int] | None = None,
    prefix: bool = False,
) -> tuple[Prediction, int]:
    """The prediction with the rows that are asked for, run again where it lacks them; and how many runs that took.

    Any layers will do where ``layers`` is None, as long as all are there.
    """
    check(cancelled)
    if prediction is not None and _has(policy, prediction, target, layers, prefix):
        return prediction, 0
    if progress is not None:
        progress(0, 1)
    asked = Capture(
        layers=None if layers is None else tuple(layers),
        queries=tuple(Part),
        prefix=prefix,
    )
    held = prediction.text if prediction is not None and prediction.text and policy.info.generates_rationale else None
    found = policy.predict(observation, asked, force=held)
    if progress is not None:
        progress(1, 1)
    return found, 1


def target_rows(
    prediction: Prediction, target: Target, denoising: int | None = None
) -> tuple[AttentionRecord, tuple[int, ...]]:
    """The record that holds the rows which produced the target, and which of its rows they are.

    ``denoising``: of a flow-matching policy, the denoising step; None: the last one.
    Raises UserError where no row produced it.
    """
    start = len(prediction.layout.tokens) - prediction.written
    produced = [position - start for position in positions_of(target, prediction)]
    for record in reversed(prediction.attention):
        rows = tuple(record.produced.index(place) for place in produced if place in record.produced)
        if rows and denoising in (None, record.denoising_step):
            return record, rows
    steps = [r.denoising_step for r in prediction.attention if r.denoising_step is not None]
    if denoising is not None and denoising not in steps:
        raise UserError(f"there are no rows of denoising step {denoising}; there are {sorted(set(steps)) or 'none'}")
    raise UserError(f"no attention row that produced {target.text} was captured")


def of_rows(
    method: AttributionMethod,
    target: Target,
    record: AttentionRecord,
    row: Float[np.ndarray, " K"],
    forwards: int,
    notes: dict[str, Setting] | None = None,
) -> AttributionMap:
    """An attribution whose scores are a row of attention."""
    stream: dict[str, Setting] = {"stream": record.stream}
    if record.denoising_step is not None:
        stream["denoising step"] = record.denoising_step
    return AttributionMap(
        layout=record.layout,
        scores=row.astype(np.float64),
        method=method.name,
        settings=settings_of(method),
        target=target,
        signed=False,
        forwards=forwards,
        notes=stream | (notes or {}),
    )


def _has(policy: Policy, prediction: Prediction, target: Target, layers: Sequence[int] | None, prefix: bool) -> bool:
    start = len(prediction.layout.tokens) - prediction.written
    wanted_rows = {position - start for position in positions_of(target, prediction)}
    for record in prediction.attention:
        if record.stream.startswith("vision") or not wanted_rows <= set(record.produced):
            continue
        count = policy.info.expert_layers if record.stream == "action expert" else policy.info.layers
        wanted = range(count) if layers is None else layers
        whole = not prefix or len(record.queries) >= len(record.layout.tokens) - 1
        if set(wanted) <= set(record.layers) and whole:
            return True
    return False
