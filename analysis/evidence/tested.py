"""What was tested of a method's maps on a checkpoint so far, over all episodes of a workspace: the badge of a map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from analysis.attribution.registry import METHODS, method_class
from analysis.attribution.settings import settings_of, with_settings
from analysis.evidence.faithful import Faithfulness, faithful
from analysis.evidence.maps import MEAN_ATTENTION
from analysis.evidence.measurements import MeasuredStep, Measurements, Place, read_values
from analysis.records import RecordStore, Run, Setting
from models.types import CheckpointSpec

PROBE = "evidence faithfulness"
ANY_STEP = ("seed", "camera")  # settings that do not make another method: what is drawn, and which image is meant


def badge_of(
    records: RecordStore, spec: CheckpointSpec, method: str, settings: Mapping[str, Setting] | None = None
) -> Faithfulness:
    """The badge of ``method`` with ``settings`` (those left out as usual), from every step that was tested.

    Where the same method was tested with other settings only, the badge says "not tested" and the reason says so.
    """
    asked = _whole(method, settings or {})
    same: list[MeasuredStep] = []
    others = 0
    for run in records.runs(checkpoint=spec.digest):
        if run.key.method == PROBE and run.key.settings.get("method") == method:
            steps = _steps(records, run)
            if _whole(method, json.loads(str(run.key.settings["method_settings"]))) == asked:
                same += steps
            else:
                others += len(steps)
    found = faithful(Measurements(spec.digest, spec.name, tuple(same), {}), method)
    return found if same else _untested(found, others)


def _untested(found: Faithfulness, others: int) -> Faithfulness:

    why = "Not tested: nothing was measured of this method on this model; the Evidence page does."
    if others:
        why = f"Not tested with these settings; {others} steps were tested with others."
    return replace(found, because=why)


def _whole(method: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """All settings of a method but those that make no other one."""
    if method == MEAN_ATTENTION or method not in METHODS:
        return dict(settings)
    every = settings_of(with_settings(method_class(method), dict(settings)))
    return {name: value for name, value in every.items() if name not in ANY_STEP}


def _steps(records: RecordStore, run: Run) -> list[MeasuredStep]:
    found = []
    for path in sorted((run.path / "steps").glob("[0-9]*.json")):
        values = read_values(records, run.key, int(path.stem))
        if values:
            found.append(MeasuredStep(Place("", run.key.episode, int(path.stem)), values))
    return found
