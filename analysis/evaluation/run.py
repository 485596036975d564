"""An evaluation's trials, measured one by one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.cameras import plan_cameras
from analysis.episodes import EpisodeSource, open_source
from analysis.evaluation.closed_loop import check_fit, roll_out, rollout_file
from analysis.evaluation.kept_lines import measured
from analysis.evaluation.open_loop import score_episode
from analysis.evaluation.world import World
from analysis.rationales.seen_things import seen_things
from analysis.types import EpisodeMeta
from models.errors import UserError
from models.policy import Policy
from models.types import ActionSpace


@dataclass(frozen=True)
class OpenLoop:
    """Which steps of which episodes."""

    paths: tuple[Path, ...]
    ids: tuple[str, ...] = ()  # empty: all
    held_out_of: Path | None = None  # a tuned checkpoint: only what its training held out
    every: int = 1
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trials:
    """Episodes to measure on."""

    episodes: tuple[tuple[EpisodeSource, EpisodeMeta], ...]
    vocabulary: frozenset[str]  # names that stand for things


def check_request(asked: OpenLoop) -> Trials:
    """The episodes. Raises UserError where there is none, or one was learned from that should be held out."""
    if asked.every < 1:
        raise UserError(f"each {asked.every}. step makes no sense; use 1 or more")
    found: list[tuple[EpisodeSource, EpisodeMeta]] = []
    for path in asked.paths:
        source = open_source(path)
        found += [(source, entry) for entry in source.scan() if isinstance(entry, EpisodeMeta)]
    known = {meta.id for _, meta in found}
    if absent := [id for id in asked.ids if id not in known]:
        raise UserError(f"there is no episode {absent[0]!r} among the episodes given")
    chosen = [(source, meta) for source, meta in found if not asked.ids or meta.id in asked.ids]
    if asked.held_out_of is not None:
        held = _held_out(asked.held_out_of)
        chosen = [(source, meta) for source, meta in chosen if held.get(meta.id) == meta.digest]
    if not chosen:
        what = " that training held out" if asked.held_out_of is not None else ""
        raise UserError(f"there is no episode{what} to measure on in {', '.join(map(str, asked.paths))}")
    if len({meta.id for _, meta in chosen}) < len(chosen):
        raise UserError("two of the episodes have the same id; evaluate their data sets one by one")
    vocabulary: frozenset[str] = frozenset()
    for source in dict.fromkeys(source for source, _ in chosen):
        vocabulary |= seen_things(source, [meta for own, meta in chosen if own is source])
    return Trials(tuple(chosen), vocabulary)


def check_policy(policy: Policy, world: World | None = None) -> ActionSpace:
    """What it predicts. Raises UserError for a policy that cannot be measured, or cannot act in ``world``."""
    space = policy.info.action_space
    if space is None:
        raise UserError(f"{policy.info.name} predicts no actions, so there is nothing to measure")
    if world is not None:
        check_fit(policy, world)
    return space


def measure_open(policy: Policy, trials: Trials, asked: OpenLoop, place: Path, bar: Any) -> dict[str, Any]:
    """Episode -> its step scores. Raises UserError where policy and episodes do not fit."""
    space = check_policy(policy)
    by_key = {f"{meta.id} {meta.digest} every {asked.every}": (source, meta) for source, meta in trials.episodes}

    def measure(key: str) -> list[dict[str, Any]]:
        source, meta = by_key[key]
        episode = source.open(meta.id)
        if episode.actions.shape[1] != len(space.names):
            raise UserError(
                f"{policy.info.name} predicts {', '.join(space.names)}; episode {meta.id!r} has "
                f"{episode.actions.shape[1]} action dimensions"
            )
        plan = plan_cameras(policy.info.cameras, episode.meta.cameras, asked.cameras or None, policy.info.every_camera)
        steps = range(0, episode.meta.length, asked.every)
        return [asdict(score) for score in score_episode(policy, episode, steps, plan, trials.vocabulary)]

    return measured(place / "open.jsonl", by_key, measure, bar.update)


def measure_closed(
    policy: Policy, world: World, name: str, seeds: range, place: Path, rollouts: Path | None, bar: Any
) -> dict[str, Any]:
    """Seed -> its rollout; ``name``: of the world. One whose episode is wanted and is not there is made again."""
    check_policy(policy, world)
    keys = {f"{name} {seed}": seed for seed in seeds}
    return measured(
        place / "closed.jsonl",
        keys,
        lambda key: asdict(roll_out(policy, world, keys[key], rollouts)),
        bar.update,
        whole=lambda key: rollouts is None or rollout_file(rollouts, keys[key]).exists(),
    )


def _held_out(checkpoint: Path) -> dict[str, str]:
    file = checkpoint / "provenance.json"
    try:
        held = json.loads(file.read_text(encoding="utf-8"))["held_out"]
        return {str(id): str(digest) for id, digest in held.items()}
    except (OSError, ValueError, KeyError, AttributeError):
        raise UserError(f"{file} does not say what was held out; evaluate without --held-out") from None
