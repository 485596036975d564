"""What is measured of a policy in the ablations, many observations in one batch; results are kept one by one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import models
from analysis.episodes import open_source
from analysis.evaluation.kept_lines import measured, read_lines
from analysis.evaluation.open_loop import attention_on_named, scene_of
from analysis.evaluation.rationale_truth import judge
from analysis.rationales.seen_things import seen_things
from models.checkpoint_files import CheckpointFiles
from models.refine.paligemma_learner import PaliGemmaLearner
from models.refine.settings import Order
from models.types import Capture, Part
from sample_data.recipe.together import Said, Together
from sample_data.world.moment import ACTION_NAMES

EVERY, LOOKED_AT = 4, 2  # steps of an episode that are measured; of those, how many for attention
MAX_STEPS = 45  # of a rollout: the expert takes up to 34


def together(checkpoint: Path, order: Order) -> Together:
    return Together(PaliGemmaLearner.open(CheckpointFiles.open(checkpoint), order))


def measure_open(checkpoint: Path, order: Order, episodes: Path, results: Path) -> None:
    """Every fourth step of each episode: errors, rationale, and attention of two of them."""
    source = open_source(episodes)
    metas = [meta for meta in source.scan() if not hasattr(meta, "reason")]
    if not set(read_lines(results)) < {f"{meta.id} every {EVERY}" for meta in metas}:
        return
    vocabulary, policy, answering = seen_things(source, metas), models.load(checkpoint), together(checkpoint, order)

    def measure(key: str) -> list[dict[str, Any]]:
        episode = source.open(key.split(" every ")[0])
        steps = list(range(0, episode.meta.length, EVERY))
        moments = [episode.step(step) for step in steps]
        answers = answering([moment.observation for moment in moments])
        looked = {len(steps) // 4, 3 * len(steps) // 4}
        return [
            {
                "step": step, **_scored(said, episode.actions[step], answering),
                "rationale": dict(said.rationale.parts) if said.rationale is not None else {},
                "judged": asdict(judge(said.rationale, scene_of(moment, episode), vocabulary))
                if order is not Order.ACT_ONLY else {},
                "attention": _attention(policy, moment, said) if place in looked else None,
            }
            for place, (step, moment, said) in enumerate(zip(steps, moments, answers, strict=True))
        ]  # fmt: skip

    measured(results, [f"{meta.id} every {EVERY}" for meta in metas], measure)


def _scored(said: Said, done: np.ndarray, answering: Together) -> dict[str, Any]:
    centres = answering.learner.robot.action.centres(answering.learner.scale)
    bins = [np.abs(centres - each[None]).argmin(0) for each in (said.action, done)]
    right = int((bins[0] == bins[1]).sum())
    return {"error": np.abs(said.action - done).tolist(), "tokens_right": right, "tokens": len(ACTION_NAMES)}


def _attention(policy: Any, moment: Any, said: Said) -> float | None:
    camera = next(iter(moment.observation.images))
    forced = said.rationale if policy.info.generates_rationale else None
    answer = policy.predict(moment.observation, Capture(queries=(Part.ACTION,)), force=forced)
    return attention_on_named(answer, moment, (camera, camera))


def measure_closed(checkpoint: Path, order: Order, seeds: range, results: Path, worlds: list[Any]) -> None:
    """Rollouts of ``seeds`` side by side, each in a world of its own."""
    known = read_lines(results)
    wanted = [seed for seed in seeds if f"tabletop {seed}" not in known]
    if not wanted:
        return
    answering = together(checkpoint, order)
    tables = worlds[: len(wanted)]
    tasks = [table.begin(seed) for table, seed in zip(tables, wanted, strict=True)]
    state = [{"success": False, "grasped": False, "wrong": False, "steps": 0} for _ in wanted]
    for _ in range(MAX_STEPS):
        running = [k for k, each in enumerate(state) if not each["success"]]
        if not running:
            break
        answers = answering([tables[k].observation() for k in running])
        for k, said in zip(running, answers, strict=True):
            now, own = tables[k].step(said.action), state[k]
            own["success"], own["steps"] = now.success, own["steps"] + 1
            own["grasped"], own["wrong"] = own["grasped"] or now.grasped, own["wrong"] or now.wrong
    done = {
        f"tabletop {seed}": {"seed": seed, "task": task, **each}
        for seed, task, each in zip(wanted, tasks, state, strict=True)
    }
    measured(results, done, lambda key: done[key])
