"""What the player asks every half second about a run: its state, and the steps that are new since it last asked."""

from __future__ import annotations

import math
import threading
from statistics import median
from typing import Any

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
                first = next(iter(rounded(prediction.actions[:1])), None)  # none from a model without actions
                known[step] = {"action": first, "version": run.address, "bytes": size}
                names = {"names": list(prediction.action_names), "units": list(prediction.action_units)}
                self._actions.setdefault(run.address, names)
            return dict(known)

    def actions(self, run: Run) -> dict[str, list[str]] | None:
        """Names and units of the actions; None before the first step is there."""
        with self._lock:
            return self._actions.get(run.address)


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
    small = spec.parameters < AUTOMATIC_PARAMETERS
    return {
        "state": state,
        "message": job.message if job else "" if small else _large(spec.parameters),
        "layers": _layers(run, spec),
        "cameras": record.cameras.episode_names,
        "note": record.cameras.note,
        "actions": summaries.actions(run),
        "captured": len(steps),
        "total": length,
        "automatic": job is None and small and len(steps) < length,
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


def _large(parameters: int) -> str:
    return f"This checkpoint has {parameters / 1e9:.1f} billion parameters: it runs when you say so."
