"""What the player asks every half second about a run: its state, and the steps that are new since it last asked."""

from __future__ import annotations

import math
import threading
from statistics import median
from typing import Any

import numpy as np

from analysis.prediction_file import StoredRows
from analysis.records import Run, capture_of
from app.facts import rounded
from app.run_records import Asked
from app.runs import AUTOMATIC_PARAMETERS, Job, RunQueue, State
from models.types import CheckpointSpec


class StepSummaries:
    """Predicted actions of stored steps, read once; a step that is there never changes."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, dict[str, Any]]] = {}
        self._actions: dict[str, dict[str, list[str]]] = {}
        self._lock = threading.Lock()

    def of(self, run: Run) -> dict[int, dict[str, Any]]:
        """Step -> summary, in the order in which the steps were first seen."""
        with self._lock:
            known = self._known.setdefault(run.address, {})
            for step in sorted(run.steps_done() - known.keys()):
                with run.open(step) as file:
                    prediction, size = file.prediction, max((_bytes(rows) for rows in file.rows), default=0)
                known[step] = _said(prediction.actions) | {"version": run.address, "bytes": size}
                names = {"names": list(prediction.action_names), "units": list(prediction.action_units)}
                self._actions.setdefault(run.address, names)
            return dict(known)

    def actions(self, run: Run) -> dict[str, list[str]] | None:
        """Names and units of the actions; None before the first step is there."""
        with self._lock:
            return self._actions.get(run.address)


def _said(actions: np.ndarray) -> dict[str, Any]:
    """The first action of a step's chunk, and the least and the most of each dimension in it; null without actions."""
    if not len(actions):
        return {"action": None, "reach": None}
    reach = rounded(np.stack([actions.min(axis=0), actions.max(axis=0)])) if len(actions) > 1 else None
    return {"action": rounded(actions[:1])[0], "reach": reach}


def _bytes(rows: StoredRows) -> int:
    """What the rows take on their way to the player."""
    return 2 * math.prod(rows.shape)


def run_status(queue: RunQueue, summaries: StepSummaries, asked: Asked, since: str) -> dict[str, Any]:
    """The answer; ``since`` is the revision of the previous one, "address:count". Raises UserError for unknown ids."""
    job = queue.job(asked)
    # Once a run has ended, another process may have made a better record of the same.
    record = job.record if job and job.state.busy else queue.record(asked)
    run, length, spec = record.run, record.length, record.spec
    steps = summaries.of(run)
    address, _, count = since.rpartition(":")
    new = list(steps.items())[int(count) if address == run.address and count.isdigit() else 0 :]
    state = _state(job, len(steps), length)
    why_not = _why_not_by_itself(spec, asked)
    return {
        "state": state,
        "message": job.message if job else why_not,
        "layers": _layers(run, spec),
        "cameras": record.cameras.episode_names,
        "note": record.cameras.note,
        "actions": summaries.actions(run),
        "captured": len(steps),
        "total": length,
        "automatic": job is None and not why_not and len(steps) < length,
        "seconds_per_step": median(job.seconds[-9:]) if job and job.seconds else None,
        "revision": f"{run.address}:{len(steps)}",
        "steps": {str(step): summary for step, summary in new},
    }


def _layers(run: Run, spec: CheckpointSpec) -> dict[str, list[int]]:
    """Numbers of the layers that were captured, per stream; "" is the stream that is shown by itself."""
    counts = {"language": spec.layers, "action expert": spec.expert_layers, "vision": spec.vision_layers}
    counts[""] = spec.expert_layers or spec.layers
    asked = capture_of(run.key).layers
    return {
        name: [layer for layer in range(count) if asked is None or layer in asked] for name, count in counts.items()
    }


def _state(job: Job | None, captured: int, length: int) -> State:
    if captured >= length:
        return State.COMPLETE
    return job.state if job else State.IDLE


def _why_not_by_itself(spec: CheckpointSpec, asked: Asked) -> str:
    """Why a run is not started without a word from a person; empty where it is."""
    if len(spec.action_stats) > 1 and asked.action_stats is None:
        return f"Choose in the side bar whose statistics scale the actions: {', '.join(spec.action_stats)}."
    if spec.parameters >= AUTOMATIC_PARAMETERS:
        return f"This checkpoint has {spec.parameters / 1e9:.1f} billion parameters: it runs when you say so."
    return ""
