"""From a checkpoint, episodes and rationales to a tuned checkpoint: everything is checked before training begins."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import models
from analysis.episodes import EpisodeSource, open_source
from analysis.finetuning.episode_demonstrations import EpisodeDemonstrations, Lessons, gather
from analysis.rationales import TaughtSource, read_rationales
from models.action_tokens import ActionScale
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.refine.settings import Order, TuneSettings
from models.refine.trainable import why_not
from models.registry import function

LOOKED_AT = 3000  # rationales whose length decides how long the policy may write
ROOM = 1.5  # times the longest of them


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
    spec = models.inspect(request.checkpoint, base=request.base)
    if (reason := why_not(spec, settings)) is not None:
        raise UserError(reason)
    assert spec.action_space is not None  # of every family that can be tuned
    sources = _sources(request)
    lessons = gather(sources, settings.order, spec.action_space.chunk, request.hold_out, request.only)
    demonstrations = EpisodeDemonstrations(
        sources, lessons.lessons, spec.action_space.chunk, request.camera, settings.seed
    )
    own = (request.new_stats, _statistics(sources, lessons)) if request.new_stats is not None else None
    files = CheckpointFiles.open(request.checkpoint, request.base)
    learner = function("models.refine.learner:Learner.open")(
        files, settings.order, action_stats=request.action_stats, own_scale=own
    )
    if settings.order is not Order.ACT_ONLY:
        said = {id(each.rationale): each.rationale for each in lessons.lessons if each.rationale is not None}
        longest = learner.longest(list(said.values())[:LOOKED_AT], settings.order)
        learner = learner.allowing(max(math.ceil(ROOM * longest), 1))
    for lesson in (lessons.lessons[0], lessons.lessons[-1]):
        learner.check(demonstrations.of(lesson), settings.order)
    dtype = request.dtype or {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(spec.dtype, spec.dtype)
    return Prepared(learner, demonstrations, lessons, _provenance(request, spec.digest, lessons), dtype)


def finetune(request: Request, prepared: Prepared, progress: Callable[[int, int], None] | None = None) -> Any:
    """Train. Returns `models.refine.tune.Tuned`."""
    name = request.name or f"{request.checkpoint.resolve().name} tuned"
    return function("models.refine.tune:tune")(
        prepared.learner, prepared.demonstrations, request.settings, request.out, prepared.provenance, name,
        prepared.dtype, progress,
    )  # fmt: skip


def _sources(request: Request) -> list[EpisodeSource]:
    if not request.episodes:
        raise UserError("name at least one file or folder of episodes to learn from")
    opened = [open_source(path) for path in request.episodes]
    if not request.rationales:
        return opened
    for path in request.rationales:
        read_rationales(path)
    return [TaughtSource(source, request.rationales, own=False) for source in opened]


def _statistics(sources: Sequence[EpisodeSource], lessons: Lessons) -> ActionScale:
    """1st and 99th percentile of every action dimension; least and greatest where it has two values at most."""
    of = {each.episode: each.source for each in lessons.lessons}
    actions = np.concatenate([sources[source].open(id).actions for id, source in of.items()])
    low, high = np.quantile(actions, 0.01, axis=0), np.quantile(actions, 0.99, axis=0)
    for column in range(actions.shape[1]):
        if len(np.unique(actions[:, column])) <= 2:
            low[column], high[column] = actions[:, column].min(), actions[:, column].max()
    return ActionScale(tuple(low.tolist()), tuple(high.tolist()), (True,) * actions.shape[1])


def _provenance(request: Request, digest: str, lessons: Lessons) -> dict[str, Any]:
    return {
        "base": {"path": str(request.checkpoint), "digest": digest},
        "episodes": lessons.digests,
        "held_out": {meta.id: meta.digest for meta in lessons.held_out},
        "rationales": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in request.rationales},
        "steps_learned": len(lessons.lessons),
        "steps_without_rationale": lessons.silent,
    }
