"""Two policies at equal input, layer by layer: how alike their states are (CKA), and how far attention moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from analysis.compare import shared_positions
from analysis.evidence.measurements import (
    MeasuredStep,
    Place,
    Progress,
    Subject,
    read_values,
    spread_steps,
    write_values,
)
from analysis.evidence.probe import Values
from analysis.metrics.bootstrap import Estimate, bootstrap_mean
from analysis.metrics.representation import linear_cka
from analysis.records import RecordStore, RunKey, Setting
from models.policy import LayerReadable, Policy
from models.types import AttentionRecord, Capture, Observation

VERSION = 1
LANGUAGE = "language"
Side = tuple[Policy, Subject]  # a policy, and the episode as it sees it


@dataclass(frozen=True)
class LayerChange:
    """One decoder layer, over the episodes."""

    layer: int
    cka: Estimate  # of the states at the prompt's positions; 1: the same up to rotation and scale
    attention: Estimate  # mean total variation distance of the prompt's attention rows, 0 to 1


@dataclass(frozen=True)
class LayerComparison:
    layers: tuple[LayerChange, ...]
    steps: int
    why_not: str = ""  # one sentence where nothing could be compared


def why_not(first: Policy, second: Policy) -> str | None:
    """One sentence that says why two policies cannot be compared layer by layer; None where they can."""
    if first.info.layers != second.info.layers or first.info.heads != second.info.heads:
        shapes = (f"{p.info.layers} layers of {p.info.heads} heads" for p in (first, second))
        return f"the two have different shapes: {' against '.join(shapes)}"
    for policy in (first, second):
        if not isinstance(policy, LayerReadable):
            return f"the layers of {policy.info.name} cannot be read one by one"
    return None


def compare_layers(
    first: Policy,
    second: Policy,
    subjects: tuple[Sequence[Subject], Sequence[Subject]],
    records: RecordStore,
    steps: int,
    progress: Progress | None = None,
) -> LayerComparison:
    """Measures ``steps`` steps of each episode, those that a record has not; resumes and stops as `measure` does.

    ``subjects``: of each policy, the same episodes. Steps at which the two read different prompts, or see different
    cameras, are left out: only an equal input says what a layer does.
    """
    if (why := why_not(first, second)) is not None:
        return LayerComparison((), 0, why)
    both = zip(*subjects, strict=True)
    wanted = [(one, two, step) for one, two in both for step in spread_steps(one.episode.meta.length, steps)]
    found: list[MeasuredStep] = []
    for done, (one, two, step) in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        key = _key((first, one), (second, two))
        values = read_values(records, key, step)
        if values is None:
            values = _measured((first, one), (second, two), step)
            write_values(records, key, step, values)
        meta = one.episode.meta
        found.append(MeasuredStep(Place(meta.id, meta.digest, step, one.dataset), values))
    if progress is not None:
        progress(len(wanted), len(wanted))
    return summed_up(found, first.info.layers)


def summed_up(steps: Sequence[MeasuredStep], layers: int) -> LayerComparison:
    """Per layer, over episode means."""
    kept = [step for step in steps if step.values]
    if not kept:
        return LayerComparison((), 0, "the two read different prompts or see different cameras at every step")

    def over(name: str) -> Estimate:
        digests = dict.fromkeys(step.place.digest for step in kept)
        means = [np.mean([s.values[name] for s in kept if s.place.digest == digest]) for digest in digests]
        return bootstrap_mean(np.array(means, dtype=np.float64))

    changes = tuple(
        LayerChange(layer, over(f"cka {layer}"), over(f"attention change {layer}")) for layer in range(layers)
    )
    return LayerComparison(changes, len(kept))


def _key(one: Side, two: Side) -> RunKey:
    (first, own), (second, other) = one, two
    settings: dict[str, Setting] = {"version": VERSION, **own.seen, "with": second.info.digest, "with seen": other.seen}
    return RunKey(first.info.digest, own.episode.meta.digest, "evidence layers", settings)


def _measured(one: Side, two: Side, step: int) -> Values:
    (first, left), (second, right) = one, two
    assert isinstance(first, LayerReadable) and isinstance(second, LayerReadable)
    if left.cameras.chosen != right.cameras.chosen:
        return {}
    moment = left.episode.step(step).observation
    own, other = left.cameras.seen(moment), right.cameras.seen(moment)
    layouts = first.layout(own), second.layout(other)
    shared = shared_positions(*layouts)
    if len(layouts[0].tokens) != len(layouts[1].tokens) or not shared.all():
        return {}
    values: Values = {}
    pairs = zip(first.layer_states(own), second.layer_states(other), strict=True)
    for layer, states in enumerate(pairs):
        values[f"cka {layer}"] = linear_cka(*states)
    rows = [_prompt_rows(policy, seen) for policy, seen in ((first, own), (second, other))]
    for layer, apart in enumerate(_total_variation(*rows)):
        values[f"attention change {layer}"] = float(apart)
    return values


def _prompt_rows(policy: Policy, seen: Observation) -> Float[np.ndarray, "L A P P"]:
    """Attention of the prompt's positions among themselves."""
    record: AttentionRecord = next(
        entry for entry in policy.predict(seen, Capture(queries=(), prefix=True)).attention if entry.stream == LANGUAGE
    )
    prompt = [row for row, token in enumerate(record.produced) if token == -1]
    return record.weights[:, :, prompt][..., : len(prompt)].astype(np.float64)


def _total_variation(one: Float[np.ndarray, "L A P P"], other: Float[np.ndarray, "L A P P"]) -> Float[np.ndarray, " L"]:
    """Half of the sum of |differences| of each row, averaged over heads and rows."""
    return np.asarray((np.abs(one - other).sum(axis=-1) / 2).mean(axis=(1, 2)))
