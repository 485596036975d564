"""Honest figures: free-running and greedy, on seeds that no training saw, next to policies that see nothing.

``python -m sample_data.recipe.evaluate NAME`` with NAME a checkpoint folder, or one of "expert", "still",
"random", "phase". Results go to ``build/evaluation/NAME-WORKER.jsonl`` one by one; a killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np

import models
from models.types import Prediction
from sample_data.recipe.architecture import ACTION_HIGH, ACTION_LOW
from sample_data.recipe.rollout import Act, moved_thing, rollout
from sample_data.recipe.scores import score
from sample_data.world.expert import PHASES, decide, is_done
from sample_data.world.tabletop import Tabletop
from sample_data.world.tasks import TASKS

FIRST_SEED, PAIR_SEED, OPEN_SEED = 500_000, 700_000, 600_000


def expert(table: Tabletop) -> np.ndarray:
    """The scripted expert itself (privileged)."""
    return decide(table.moment()).action


def still(table: Tabletop) -> np.ndarray:
    """Does nothing, gripper as it is."""
    return np.array([0, 0, 0, 0, 0, 0, float(table.moment().is_open)])


def random(table: Tabletop) -> np.ndarray:
    """Uniform over the action space."""
    return table.rng.uniform(ACTION_LOW, ACTION_HIGH)


class PhaseOnly:
    """Told the expert's phase (privileged), plays the median of the expert's actions in it; sees nothing else."""

    def __init__(self, table: Tabletop, seeds: range) -> None:
        actions: dict[str, list[np.ndarray]] = {phase: [] for phase in PHASES}
        for seed in seeds:
            table.reset(seed)
            for _ in range(60):
                decision = decide(table.moment())
                actions[decision.phase].append(decision.action)
                table.step(decision.action)
                if is_done(table.moment()):
                    break
        self.median = {phase: np.median(np.stack(rows), axis=0) for phase, rows in actions.items() if rows}

    def __call__(self, table: Tabletop) -> np.ndarray:
        return self.median[decide(table.moment()).phase]


class Loaded:
    """A checkpoint, through the same door that the app uses."""

    def __init__(self, folder: Path) -> None:
        self.policy = models.load(folder)
        self.last: Prediction | None = None

    def __call__(self, table: Tabletop) -> np.ndarray:
        self.last = self.policy.predict(table.observation())
        return self.last.actions[0]


def closed_loop(table: Tabletop, policy: Act, seed: int) -> dict:
    return asdict(rollout(table, seed, policy, list(TASKS)[seed % len(TASKS)]))


def follows(table: Tabletop, policy: Act, seed: int) -> dict | None:
    """Does the first action follow the thing when it is moved 10 cm across the tool? None: no room on this table."""
    laid = [(axis, policy(table)[axis]) for axis in moved_thing(table, seed, list(TASKS)[seed % len(TASKS)])]
    if not laid:
        return None
    (axis, below), (_, above) = laid
    return {"seed": seed, "axis": axis, "follows": bool(above - below > 0.003), "signs": bool(below < 0 < above)}


def open_loop(table: Tabletop, policy: Act, seed: int) -> dict:
    """Absolute error of every action along one expert episode, and scores of the rationales."""
    table.reset(seed)
    errors, scores = [], []
    for _ in range(60):
        moment = table.moment()
        wanted = decide(moment).action
        given = policy(table)
        errors.append(np.abs(given - wanted))
        if isinstance(policy, Loaded) and policy.last is not None and policy.policy.info.generates_rationale:
            scores.append(asdict(score(policy.last.rationale, moment)))
        table.step(wanted)
        if is_done(table.moment()):
            break
    grip = [float(error[6] < 0.5) for error in errors]
    return {"seed": seed, "error": np.stack(errors).tolist(), "grip_right": grip, "rationale": scores}


def _remembered(path: Path, what: str, seeds: range, measure: Callable[[int], dict | None], wanted: int) -> None:
    """Measure seed after seed until ``wanted`` have counted, one line of JSON each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {line["seed"]: line for line in lines if line["what"] == what}
    for seed in seeds:
        if sum(line["result"] is not None for line in done.values()) >= wanted:
            return
        if seed not in done:
            done[seed] = {"what": what, "seed": seed, "result": measure(seed)}
            with path.open("a") as file:
                file.write(json.dumps(done[seed]) + "\n")


def evaluate(
    name: str,
    policy: Act,
    table: Tabletop,
    folder: Path,
    rollouts: int,
    pairs: int,
    episodes: int,
    worker: int,
    workers: int,
) -> None:
    path = folder / f"{name}-{worker}.jsonl"

    def mine(first: int, count: int) -> range:
        return range(first + worker, first + 40 * count, workers)

    def share(count: int) -> int:
        return len(range(worker, count, workers))

    _remembered(path, "pair", mine(PAIR_SEED, pairs), lambda s: follows(table, policy, s), share(pairs))
    _remembered(path, "open", mine(OPEN_SEED, episodes), lambda s: open_loop(table, policy, s), share(episodes))
    _remembered(path, "closed", mine(FIRST_SEED, rollouts), lambda s: closed_loop(table, policy, s), share(rollouts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help='a checkpoint folder, "expert", "still", "random" or "phase"')
    parser.add_argument("--folder", type=Path, default=Path("build/evaluation"))
    parser.add_argument("--rollouts", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    table = Tabletop()
    blind: dict[str, Act] = {"expert": expert, "still": still, "random": random}
    if options.name == "phase":
        policy: Act = PhaseOnly(table, range(800_000, 800_050))
    else:
        policy = blind.get(options.name) or _load(Path(options.name))
    evaluate(
        Path(options.name).name, policy, table, options.folder,
        options.rollouts, options.pairs, options.episodes, options.worker, options.workers,
    )  # fmt: skip


def _load(folder: Path) -> Loaded:
    import torch

    torch.set_num_threads(1)
    return Loaded(folder)


if __name__ == "__main__":
    main()
