"""All that is measured of a base and a tuned policy over the same episodes: for page, command line and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.evidence.asked_map import MEAN, AskedMap
from analysis.evidence.comparison import Comparison, compare
from analysis.evidence.faithful import Faithfulness, faithful
from analysis.evidence.layers import LayerComparison, compare_layers
from analysis.evidence.measurements import Measurements, Progress, Subject, measure
from analysis.evidence.probe import Probe
from analysis.evidence.verdict import Verdict
from analysis.evidence.verdicts import all_verdicts
from analysis.metrics.significance import Correction
from analysis.records import RecordStore
from models.errors import UserError
from models.policy import Policy
from models.types import CheckpointSpec
from models.weight_change import WeightChange, weight_change


@dataclass(frozen=True)
class Judged:
    """One policy over the episodes."""

    spec: CheckpointSpec
    measured: Measurements
    verdicts: tuple[Verdict, ...]
    faithful: Faithfulness  # of its mean attention map unless another was tested


@dataclass(frozen=True)
class Pair:
    """The result of a comparison."""

    first: Judged
    second: Judged
    comparison: Comparison
    layers: LayerComparison
    weights: WeightChange | None
    weights_why_not: str  # where there are none
    settings: dict[str, str]  # what was asked, as a caption says it


def judged(spec: CheckpointSpec, measured: Measurements, map: AskedMap = MEAN) -> Judged:
    """``map``: the one that the faithfulness probe tested."""
    return Judged(spec, measured, all_verdicts(measured), faithful(measured, map.text))


def measure_pair(
    policies: tuple[Policy, Policy],
    subjects: tuple[Sequence[Subject], Sequence[Subject]],
    probes: Sequence[Probe],
    records: RecordStore,
    steps: int,
    progress: Progress | None = None,
    correction: Correction = "holm",
    layers: bool = True,
) -> Pair:
    """Measures what records do not hold yet, and compares. ``subjects``: of each policy, the same episodes.

    ``progress(done, total)`` counts steps of both policies and of the layers. Raises UserError if nothing is shared.
    """
    parts = 3 if layers else 2

    def part(number: int) -> Progress:
        return lambda done, total: progress(number * total + done, parts * total) if progress is not None else None

    measured = [
        measure(policy, own, probes, records, steps, part(number))
        for number, (policy, own) in enumerate(zip(policies, subjects, strict=True))
    ]
    by_layer = LayerComparison((), 0, "not asked for")
    if layers:
        by_layer = compare_layers(policies[0], policies[1], subjects, records, steps, part(2))
    asked = {
        "steps of each episode": str(steps),
        "measured": ", ".join(each.name for each in probes),
        "correction": correction,
        "boxes drawn by a person": f"on {sum(bool(each.drawn.keys) for each in subjects[0])} of the episodes",
    }
    return paired(policies[0].info, policies[1].info, measured[0], measured[1], by_layer, correction, asked)


def paired(
    first: CheckpointSpec,
    second: CheckpointSpec,
    one: Measurements,
    two: Measurements,
    layers: LayerComparison,
    correction: Correction,
    settings: dict[str, str],
) -> Pair:
    """What measurements say; needs no policy."""
    weights, why = _weights(first, second)
    return Pair(judged(first, one), judged(second, two), compare(one, two, correction), layers, weights, why, settings)


def _weights(first: CheckpointSpec, second: CheckpointSpec) -> tuple[WeightChange | None, str]:
    if not (first.path and second.path and Path(first.path).exists() and Path(second.path).exists()):
        return None, "the weights are not in files"
    try:
        return weight_change(first.path, second.path), ""
    except UserError as error:
        return None, str(error)
