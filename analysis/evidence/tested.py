"""What was tested of a map on a checkpoint so far, over the records of a workspace: the badge of a map."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from analysis.attribution.attribution_run import PREFIX, method_of, target_of
from analysis.attribution.settings import settings_of
from analysis.evidence.aim import query_of
from analysis.evidence.asked_map import AskedMap
from analysis.evidence.effect import unit_of
from analysis.evidence.episodes import subject
from analysis.evidence.faithful import Badge, Faithfulness, faithful
from analysis.evidence.measurements import MeasuredStep, Measurements, Place, values_in
from analysis.evidence.probe import Values
from analysis.evidence.probes.faithfulness import FaithfulnessProbe
from analysis.evidence.verdict import LEAST_EPISODES, LEAST_STEPS
from analysis.records import RecordStore, Run, RunKey, Setting
from analysis.types import Episode
from models.types import CheckpointSpec

PROBE = f"evidence {FaithfulnessProbe.name}"
# Settings of a record that make no other test: how the policy's cameras are called, and what is known of the scene.
SEEN = ("cameras", "drawn", "annotated")
REMEMBERED = 100_000  # measured steps, about 1 kB each


@dataclass(frozen=True)
class MapTest:
    """One record: some steps of an episode, with one map."""

    key: RunKey
    steps: tuple[MeasuredStep, ...]


def map_tests(records: RecordStore, checkpoint: str) -> tuple[MapTest, ...]:
    """Every test of any map of a checkpoint, as the records are now; a file that was read once is not read again."""
    runs = (run for run in records.runs(checkpoint=checkpoint) if run.key.method == PROBE)
    return tuple(MapTest(run.key, _steps(run)) for run in runs)


def badge_of(spec: CheckpointSpec, map: AskedMap, key: RunKey, tested: Sequence[MapTest]) -> Faithfulness:
    """The badge of ``map`` where ``key`` (of its test on the episode that is looked at) is to be trusted for it.

    Only steps count that were tested with the settings of ``key``. Of 6 or more episodes the badge is about all of
    them; else it is about the episode of ``key`` alone, if 8 or more of its steps were tested.
    """
    wanted = _compared(key)
    same = [each for each in tested if _compared(each.key) == wanted]
    steps = {(step.place.digest, step.place.step): step for each in same for step in each.steps}  # each once
    own = {place: step for place, step in steps.items() if place[0] == key.episode}
    several = len({digest for digest, _ in steps}) >= LEAST_EPISODES
    chosen = steps if several else own
    measured = Measurements(spec.digest, spec.name, tuple(chosen.values()), {}, unit=unit_of(spec))
    found = faithful(measured, map.text)
    if found.badge is not Badge.NOT_TESTED:
        return found if several else replace(found, because=f"{found.because} About this episode alone.")
    return replace(found, because=_untested(len(steps), len(own), sum(len(each.steps) for each in tested) - len(steps)))


def badge_words(spec: CheckpointSpec, episode: Episode, run: Run, records: RecordStore) -> str:
    """The badge of the maps of an attribution's ``run``, as a caption says it; "" where they are about tokens, which
    tests know by their place among the words of a rationale, or where the run is of something else.
    """
    query = query_of(target_of(run.key)) if run.key.method.startswith(PREFIX) else None
    if query is None:
        return ""
    method = method_of(run.key)
    map = AskedMap.of(method.name, settings_of(method), query, target_of(run.key).scalar).fitted(spec)
    only = len(spec.action_stats) == 1  # naming the only statistics changes nothing
    opened = {name: run.key.settings.get(name) for name in ("family", "dtype", *(() if only else ("action_stats",)))}
    key = subject(spec, episode, opened_as=opened).key(spec.digest, FaithfulnessProbe(map))
    found = badge_of(spec, map, key, map_tests(records, spec.digest))
    n = found.checks[0].number.estimate.n
    return f"faithfulness {found.badge.value}, n = {n} {found.unit}{'' if n == 1 else 's'}"


def _untested(steps: int, own: int, others: int) -> str:
    """Why there is no verdict yet. A badge holds for one map with its settings, so other tests are only counted."""
    needed = f"{LEAST_STEPS} or more steps of this episode, or {LEAST_EPISODES} or more episodes, are needed"
    if steps:
        return f"Not tested: {_counted(own)} of this episode and {steps - own} of others were measured; {needed}."
    elsewhere = f" {_counted(others)} measured of other maps of this model." if others else ""
    return f"Not tested: nothing was measured of this map on this model; {needed}.{elsewhere}"


def _counted(steps: int) -> str:
    return f"{steps} step{'' if steps == 1 else 's'}"


def _compared(key: RunKey) -> dict[str, Setting]:
    return {name: value for name, value in key.settings.items() if name not in SEEN}


def _steps(run: Run) -> tuple[MeasuredStep, ...]:
    found = []
    for path in sorted((run.path / "steps").glob("[0-9]*.json")):
        with suppress(FileNotFoundError):  # deleted just now
            if values := _values(path, path.stat().st_mtime_ns):
                found.append(MeasuredStep(Place("", run.key.episode, int(path.stem)), values))
    return tuple(found)


@lru_cache(maxsize=REMEMBERED)
def _values(path: Path, written: int) -> Values:
    """What was measured; ``written`` tells a file from another one that took its place. Damaged files are read anew."""
    return values_in(path)
