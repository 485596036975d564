"""Measured steps: kept as records, one small JSON file a step, found again by checkpoint, episode, probe and settings.

records/<address>/key.json               what was measured
records/<address>/steps/000012.json      {"name": value or null}; a file that exists is complete
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from analysis.atomic_file import written_once
from analysis.cameras import CameraPlan
from analysis.evidence.drawn import NOTHING_DRAWN, DrawnBoxes
from analysis.evidence.effect import unit_of
from analysis.evidence.moment import Moment
from analysis.evidence.probe import Probe, Values
from analysis.records import RecordStore, RunKey, Setting
from analysis.types import Episode
from models.errors import UserError
from models.policy import Policy
from models.types import CheckpointSpec

REFUSED = "why_not.json"  # in the record of what cannot be measured of a policy
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Place:
    """Where a step is found again: in the player's link and on the command line."""

    episode: str  # id
    digest: str  # of the episode
    step: int
    dataset: str = ""  # name in the workspace


@dataclass(frozen=True)
class MeasuredStep:
    place: Place
    values: Mapping[str, float]


@dataclass(frozen=True)
class Measurements:
    """Everything that was measured of one policy."""

    checkpoint: str  # digest
    name: str
    steps: tuple[MeasuredStep, ...]
    not_measured: Mapping[str, str]  # probe -> why not
    records: tuple[str, ...] = ()  # addresses
    unit: str = "bits"  # of changes of the action, see `analysis.evidence.effect`

    @property
    def episodes(self) -> tuple[str, ...]:
        """Digests, in the order measured."""
        return tuple(dict.fromkeys(step.place.digest for step in self.steps))

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for step in self.steps for name in step.values))

    def per_episode(self, name: str) -> Float[np.ndarray, " E"]:
        """The mean over the steps of each episode; nan where no step has the value."""
        return np.array([_mean(self._values(name, digest)) for digest in self.episodes])

    def per_step(self, name: str) -> Float[np.ndarray, " n"]:
        return np.array([step.values.get(name, math.nan) for step in self.steps])

    def _values(self, name: str, digest: str) -> list[float]:
        return [step.values.get(name, math.nan) for step in self.steps if step.place.digest == digest]


@dataclass(frozen=True)
class Subject:
    """One episode as one policy sees it."""

    episode: Episode
    cameras: CameraPlan
    dataset: str = ""
    drawn: DrawnBoxes = NOTHING_DRAWN
    opened_as: Mapping[str, Setting] | None = None  # how the policy was opened, where not as usual: action_stats ...

    @property
    def seen(self) -> dict[str, Setting]:
        """How the policy was opened where not as usual, and which cameras it sees: part of every key."""
        opened = {name: value for name, value in (self.opened_as or {}).items() if value is not None}
        return {**opened, "cameras": [f"{name}={camera}" for name, camera in self.cameras.pairs]}

    def key(self, checkpoint: str, probe: Probe) -> RunKey:
        settings: dict[str, Setting] = {"version": probe.version, **probe.settings(), **self.seen}
        if self.episode.meta.annotated:
            settings["annotated"] = self.episode.meta.annotated
        if self.drawn.keys:
            settings["drawn"] = self.drawn.setting()
        return RunKey(checkpoint, self.episode.meta.digest, f"evidence {probe.name}", settings)


def spread_steps(length: int, count: int) -> tuple[int, ...]:
    """``count`` steps of an episode, evenly spread with equal margins; all where there are no more."""
    if count >= length:
        return tuple(range(length))
    return tuple(sorted({int((index + 0.5) * length / count) for index in range(count)}))


def measure(
    policy: Policy,
    subjects: Sequence[Subject],
    probes: Sequence[Probe],
    records: RecordStore,
    steps: int,
    progress: Progress | None = None,
) -> Measurements:
    """Measures ``steps`` steps of each episode; what a record has already is not measured again.

    ``progress(done, total)`` counts steps, is also called within one that takes long, and may raise to stop: what was
    measured is kept, the next call goes on.
    """
    refused = {each.name: why for each in probes if (why := each.why_not(policy)) is not None}
    _remember(policy.info.digest, refused, subjects, probes, records)
    fitting = [each for each in probes if each.name not in refused]
    wanted = [(subject, step) for subject in subjects for step in spread_steps(subject.episode.meta.length, steps)]
    found: list[MeasuredStep] = []
    for done, (subject, step) in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        place = Place(subject.episode.meta.id, subject.episode.meta.digest, step, subject.dataset)
        still = partial(progress, done, len(wanted)) if progress is not None else _go_on
        found.append(MeasuredStep(place, _measured(policy, subject, step, fitting, records, still)))
    if progress is not None:
        progress(len(wanted), len(wanted))
    addresses = {subject.key(policy.info.digest, each).address for subject in subjects for each in fitting}
    made = tuple(sorted(addresses))
    return Measurements(policy.info.digest, policy.info.name, tuple(found), refused, made, unit_of(policy.info))


def stored(
    spec: CheckpointSpec, subjects: Sequence[Subject], probes: Sequence[Probe], records: RecordStore, steps: int
) -> Measurements:
    """What records hold of the same, without a policy: steps that no probe has measured are left out."""
    refused, found = _refused(spec.digest, subjects, probes, records), []
    fitting = [each for each in probes if each.name not in refused]
    for subject in subjects:
        for step in spread_steps(subject.episode.meta.length, steps):
            values: Values = {}
            for each in fitting:
                values |= read_values(records, subject.key(spec.digest, each), step) or {}
            if values:
                meta = subject.episode.meta
                found.append(MeasuredStep(Place(meta.id, meta.digest, step, subject.dataset), values))
    keys = [subject.key(spec.digest, each) for subject in subjects for each in fitting]
    there = tuple(sorted(key.address for key in keys if (records.path / key.address / "key.json").exists()))
    return Measurements(spec.digest, spec.name, tuple(found), refused, there, unit_of(spec))


def _go_on() -> None:
    pass


def _measured(
    policy: Policy,
    subject: Subject,
    step: int,
    probes: Sequence[Probe],
    records: RecordStore,
    still: Callable[[], None],
) -> Values:
    moment: Moment | None = None
    values: Values = {}
    for each in probes:
        key = subject.key(policy.info.digest, each)
        known = read_values(records, key, step)
        if known is None:
            # the step is read and the policy run only where something is missing
            moment = moment or Moment(
                policy, subject.episode, subject.episode.step(step), subject.cameras, subject.drawn, still
            )
            known = each(moment)
            write_values(records, key, step, known)
        values |= known
    return values


def read_values(records: RecordStore, key: RunKey, step: int) -> Values | None:
    """What was measured at ``step``; None where nothing was yet. Raises UserError for a damaged file."""
    path = _path(records, key, step)
    return values_in(path) if path.exists() else None


def values_in(path: Path) -> Values:
    """What the file of a measured step holds. Raises UserError for a damaged one."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): math.nan if value is None else float(value) for name, value in held.items()}
    except (ValueError, TypeError, AttributeError):
        folder = path.parent.parent
        raise UserError(f"{path} is no measured step; delete the folder {folder} and measure again") from None


def write_values(records: RecordStore, key: RunKey, step: int, values: Values) -> None:
    """Keeps a measured step; where it is there already, that one stays."""
    records.run(key).write_key()
    plain = {name: float(value) if np.isfinite(value) else None for name, value in values.items()}
    with written_once(_path(records, key, step)) as part:
        part.write_text(json.dumps(plain, indent=1), encoding="utf-8")


def _path(records: RecordStore, key: RunKey, step: int) -> Path:
    return records.path / key.address / "steps" / f"{step:06d}.json"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _remember(
    checkpoint: str,
    refused: Mapping[str, str],
    subjects: Sequence[Subject],
    probes: Sequence[Probe],
    records: RecordStore,
) -> None:
    """Says in the record of what cannot be measured why not, so that it need not be asked again."""
    for subject in subjects:
        for each in probes:
            if each.name in refused:
                key = subject.key(checkpoint, each)
                records.run(key).write_key()
                if not (path := records.path / key.address / REFUSED).exists():
                    with written_once(path) as part:
                        part.write_text(json.dumps({"why": refused[each.name]}), encoding="utf-8")


def _refused(
    checkpoint: str, subjects: Sequence[Subject], probes: Sequence[Probe], records: RecordStore
) -> dict[str, str]:
    """Probe -> why it cannot measure the checkpoint, as far as records know."""
    found = {}
    for each in probes:
        paths = (records.path / subject.key(checkpoint, each).address / REFUSED for subject in subjects)
        if (path := next((path for path in paths if path.exists()), None)) is not None:
            found[each.name] = str(json.loads(path.read_text(encoding="utf-8"))["why"])
    return found


def missing(
    subjects: Sequence[Subject], probes: Sequence[Probe], checkpoint: str, records: RecordStore, steps: int
) -> Iterator[tuple[str, int]]:
    """(episode id, step) that at least one of ``probes`` has not measured yet."""
    refused = _refused(checkpoint, subjects, probes, records)
    probes = [each for each in probes if each.name not in refused]
    for subject in subjects:
        for step in spread_steps(subject.episode.meta.length, steps):
            if any(not _path(records, subject.key(checkpoint, each), step).exists() for each in probes):
                yield subject.episode.meta.id, step
