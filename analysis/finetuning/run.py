"""From a checkpoint, episodes and rationales to a tuned checkpoint: everything is checked before training begins."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import models
from analysis.episodes import EpisodeSource, open_source
from analysis.finetuning.checked import check_rationales, fitting
from analysis.finetuning.episode_demonstrations import EpisodeDemonstrations, Lessons, gather
from analysis.rationales import TaughtSource, read_rationales
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.refine.data_statistics import DataStatistics
from models.refine.settings import Order, TuneSettings
from models.refine.trainable import why_not
from models.registry import function
from models.types import CheckpointSpec

ROOM = 1.5  # times the longest rationale: what the policy may write


@dataclass(frozen=True)
class Request:
    """What to tune, on what, how."""

    checkpoint: Path
    episodes: tuple[Path, ...]
    out: Path
    settings: TuneSettings
    rationales: tuple[Path, ...] = ()  # files of JSON lines in place of the episodes' own; empty: their own
    only: tuple[str, ...] = ()  # ids of episodes; empty: all
    hold_out: float = 0.0
    camera: str | None = None
    action_stats: str | None = None
    new_stats: str | None = None  # name under which the data's own statistics go into the checkpoint
    name: str = ""
    dtype: str | None = None  # of the written weights; None: the base's
    base: Path | None = None
    family: str | None = None  # where the files cannot tell
    max_tokens: int | None = None  # of a rationale; None: 1.5 times the longest, which the base must be able to write


@dataclass(frozen=True)
class Prepared:
    """A run that could begin."""

    learner: Any
    demonstrations: EpisodeDemonstrations
    lessons: Lessons
    provenance: dict[str, Any]
    dtype: str


def prepare(request: Request) -> Prepared:
    """Reads and checks everything. Raises UserError, one sentence, for whatever would go wrong later."""
    settings = request.settings
    spec = models.inspect(request.checkpoint, request.family, base=request.base)
    if (reason := why_not(spec, settings)) is not None:
        raise UserError(reason)
    if request.new_stats in spec.action_stats:
        raise UserError(f"{spec.path} has action statistics {request.new_stats!r} already; name the new ones otherwise")
    assert spec.action_space is not None  # of every family that can be tuned
    sources = _sources(request)
    lessons = gather(sources, settings.order, spec.action_space.chunk, request.hold_out, request.only)
    demonstrations = EpisodeDemonstrations(
        sources, lessons.lessons, spec.action_space.chunk, request.camera, settings.seed
    )
    learner, notes = _learner(request, spec, sources, lessons)
    fit = fitting(learner, demonstrations, lessons, settings.order)
    if fit.broken != lessons.broken:
        demonstrations = demonstrations.only(fit.lessons)
        if request.new_stats is not None:  # which were of more than is learned
            learner, notes = _learner(request, spec, sources, fit)
    lessons = replace(fit, notes=(*fit.notes, *notes))
    dtype = request.dtype or {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(spec.dtype, spec.dtype)
    return Prepared(learner, demonstrations, lessons, _provenance(request, spec, lessons), dtype)


def finetune(request: Request, prepared: Prepared, progress: Callable[[int, int], None] | None = None) -> Any:
    """Train. Returns `models.refine.tune.Tuned`."""
    name = request.name or f"{request.checkpoint.resolve().name} tuned"
    return function("models.refine.tune:tune")(
        prepared.learner, prepared.demonstrations, request.settings, request.out, prepared.provenance, name,
        prepared.dtype, progress,
    )  # fmt: skip


def _learner(
    request: Request, spec: CheckpointSpec, sources: Sequence[EpisodeSource], lessons: Lessons
) -> tuple[Any, tuple[str, ...]]:
    """The learner, allowed to write what it learns, and what a person should know of the words."""
    own = _statistics(request.new_stats, sources, lessons) if request.new_stats is not None else None
    order = request.settings.order
    learner = function("models.refine.learner:open_learner")(
        CheckpointFiles.open(request.checkpoint, request.base), spec.family, order,
        action_stats=request.action_stats, own=own,
    )  # fmt: skip
    if order is Order.ACT_ONLY:
        return learner, ()
    if request.max_tokens is not None:
        learner = learner.allowing(request.max_tokens)
    longest, notes = check_rationales(learner, lessons.lessons, order)
    return learner.allowing(request.max_tokens or max(math.ceil(ROOM * longest), 1)), notes


def _sources(request: Request) -> list[EpisodeSource]:
    if not request.episodes:
        raise UserError("name at least one file or folder of episodes to learn from")
    opened = [open_source(path) for path in request.episodes]
    if not request.rationales:
        return opened
    for path in request.rationales:
        read_rationales(path)
    return [TaughtSource(source, request.rationales, own=False) for source in opened]


def _statistics(name: str, sources: Sequence[EpisodeSource], lessons: Lessons) -> DataStatistics:
    of = dict.fromkeys((each.source, each.episode) for each in lessons.lessons)
    actions = {id: sources[source].open(id).actions for source, id in of}
    columns = {each.shape[1]: id for id, each in actions.items()}
    if len(columns) > 1:
        found = ", ".join(f"{id!r} has {count}" for count, id in sorted(columns.items()))
        raise UserError(f"statistics need the same action columns in all episodes; {found}; choose some with --id")
    return DataStatistics.of(name, list(actions.values()))


def _provenance(request: Request, spec: CheckpointSpec, lessons: Lessons) -> dict[str, Any]:
    return {
        "base": {"path": str(request.checkpoint), "family": spec.family, "digest": spec.digest},
        "episodes": lessons.digests,
        "held_out": {meta.id: meta.digest for meta in lessons.held_out},
        "rationales": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in request.rationales},
        "steps_learned": len(lessons.lessons),
        "steps_without_rationale": lessons.silent,
    }
