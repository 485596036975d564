"""Frames of the policy's own rollouts (DAgger, Ross et al. 2011): where it gets to, with the expert's way on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch

import models
from models.policy import Policy
from sample_data.recipe.frames import Frames, Recorder
from sample_data.recipe.rollout import MAX_STEPS
from sample_data.world.expert import is_done
from sample_data.world.tabletop import Tabletop

FIRST_SEED = 3_000_000


def record(table: Tabletop, policy: Policy, seeds: range) -> Frames:
    """One rollout a seed, until the task is done or time is up."""
    recorder = Recorder(table)
    for seed in seeds:
        table.reset(seed)
        for _ in range(MAX_STEPS):
            recorder.take(posed=False)
            if is_done(table.moment()):
                break
            table.step(policy.predict(table.observation()).actions[0])
    return recorder.frames()


def make(folder: Path, checkpoint: Path, worker: int, workers: int, rollouts: int, block: int = 10) -> None:
    """Write blocks of frames; blocks that are there already are kept."""
    torch.set_num_threads(1)
    table, policy = Tabletop(), models.load(checkpoint)
    for number in range(worker, -(-rollouts // block), workers):
        path = folder / f"corrections-{number:04d}.h5"
        if not path.exists():
            record(table, policy, range(FIRST_SEED + number * block, FIRST_SEED + (number + 1) * block)).save(path)
            print(path.name, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rollouts", type=int, default=120)
    options = parser.parse_args()
    make(options.folder, options.checkpoint, options.worker, options.workers, options.rollouts)
