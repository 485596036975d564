"""What the player asks every half second about a run: its state, and the steps that are new since it last asked."""

from __future__ import annotations

import threading
from statistics import median
from typing import Any

from analysis.records import Run, capture_of
from app.facts import rounded
from app.runs import AUTOMATIC_PARAMETERS, Asked, Job, RunQueue, State


class StepSummaries:
    """Predicted actions of stored steps, read once; a step that is there never changes."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, run: Run) -> dict[int, dict[str, Any]]:
        """Step -> summary, in the order in which the steps were first seen."""
        with self._lock:
            known = self._known.setdefault(run.address, {})
            for step in sorted(run.steps_done() - known.keys()):
                prediction = run.read(step, attention=False)
                size = run.step_path(step).stat().st_size
                known[step] = {"action": rounded(prediction.actions[:1])[0], "version": run.address, "bytes": size}
            return dict(known)


def run_status(queue: RunQueue, summaries: StepSummaries, asked: Asked, since: str) -> dict[str, Any]:
    """The answer; ``since`` is the revision of the previous one, "address:count". Raises UserError for unknown ids."""
    job = queue.job(asked)
    # Once a run has ended, another process may have made a better record of the same.
    run, length, spec = (job.run, job.length, job.spec) if job and job.state.busy else queue.record(asked)
    steps = summaries.of(run)
    address, _, count = since.rpartition(":")
    new = list(steps.items())[int(count) if address == run.address and count.isdigit() else 0 :]
    state = _state(job, len(steps), length)
    small = spec.parameters < AUTOMATIC_PARAMETERS
    return {
        "state": state,
        "message": job.message if job else "" if small else _large(spec.parameters),
        "layers": list(capture_of(run.key).layers or range(spec.layers)),
        "captured": len(steps),
        "total": length,
        "automatic": job is None and small and len(steps) < length,
        "seconds_per_step": median(job.seconds[-9:]) if job and job.seconds else None,
        "revision": f"{run.address}:{len(steps)}",
        "steps": {str(step): summary for step, summary in new},
    }


def _state(job: Job | None, captured: int, length: int) -> State:
    if captured >= length:
        return State.COMPLETE
    return job.state if job else State.IDLE


def _large(parameters: int) -> str:
    return f"This checkpoint has {parameters / 1e9:.1f} billion parameters: it runs when you say so."
