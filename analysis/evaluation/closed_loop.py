"""Closed loop: a policy acts in a simulated world until it succeeds or its time is up. Rollouts become episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.cameras import plan_cameras
from analysis.episodes.hdf5_writer import Series, write_episode
from analysis.evaluation.world import World
from models.errors import UserError
from models.policy import Policy
from models.types import Observation, Rationale


@dataclass(frozen=True)
class Rollout:
    seed: int
    task: str
    success: bool
    grasped: bool
    wrong: bool
    steps: int


def check_fit(policy: Policy, world: World) -> None:
    """Raises UserError where a policy cannot act in a world: its actions or its state are others."""
    space = policy.info.action_space
    if space is None:
        raise UserError(f"{policy.info.name} predicts no actions, so it cannot act in a world")
    if len(space.names) != len(world.action_names):
        raise UserError(
            f"{policy.info.name} predicts {', '.join(space.names)}; the world takes {', '.join(world.action_names)}"
        )
    if policy.info.state_names and len(policy.info.state_names) != len(world.state_names):
        raise UserError(
            f"{policy.info.name} reads {', '.join(policy.info.state_names)}; the world tells "
            f"{', '.join(world.state_names)}"
        )


def roll_out(policy: Policy, world: World, seed: int, folder: Path | None = None) -> Rollout:
    """One episode; kept in ``folder`` as `rollout_file`, whether it succeeds or not.

    The policy is asked anew at every step; of a chunk the first action is carried out.
    """
    task = world.begin(seed)
    seen: list[Observation] = []
    actions: list[np.ndarray] = []
    said: list[Rationale] = []
    grasped = wrong = success = False
    while len(actions) < world.longest and not success:
        shown = world.observation()
        plan = plan_cameras(policy.info.cameras, tuple(shown.images), None, policy.info.every_camera)
        answer = policy.predict(plan.seen(shown))
        standing = world.step(answer.actions[0])
        seen.append(shown)
        actions.append(answer.actions[0])
        if answer.rationale is not None:
            said.append(replace(answer.rationale, start=len(actions) - 1, stop=len(actions)))
        success, grasped, wrong = standing.success, grasped or standing.grasped, wrong or standing.wrong
    done = Rollout(seed, task, success, grasped, wrong, len(actions))
    if folder is not None:
        _keep(rollout_file(folder, seed), policy, world, done, seen, actions, said)
    return done


def rollout_file(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}.hdf5"


def _keep(
    path: Path, policy: Policy, world: World, done: Rollout, seen: list[Observation], actions: list[np.ndarray],
    said: list[Rationale],
) -> None:  # fmt: skip
    states = [each.state for each in seen if each.state is not None]
    write_episode(
        path,
        id=f"{policy.info.digest[:8]}-seed-{done.seed}",
        instruction=seen[0].instruction,
        fps=world.fps,
        actions=Series(np.stack(actions).astype(np.float32), world.action_names, world.action_units),
        images={camera: [each.images[camera] for each in seen] for camera in seen[0].images},
        states=Series(np.stack(states), world.state_names, world.state_units) if states else None,
        success=done.success,
        task=done.task,
        robot=world.robot,
        rationales=said,
        attributes={
            "seed": done.seed, "policy": policy.info.name, "policy digest": policy.info.digest,
            "grasped": done.grasped, "wrong object": done.wrong, "rollout": True,
        },
    )  # fmt: skip
