"""Makes everything in this folder again, from nothing: ``make samples``, or ``python -m sample_data.make STAGE ...``.

Stages leave their work in ``build/`` and go on where they were killed; together they take about two hours on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a busy two-core machine
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from transformers import PaliGemmaForConditionalGeneration

from models.refine.examples import Order
from sample_data.recipe import language, tune, vision
from sample_data.recipe.architecture import save_checkpoint
from sample_data.recipe.frames import Frames, held_out
from sample_data.recipe.resume import load_state
from sample_data.recipe.ship import ship_episodes
from sample_data.world.tabletop import Tabletop

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
CHECKPOINTS, EPISODES = HERE / "checkpoints", HERE / "episodes"
POSED, EXPERT_EPISODES, WORKERS = 16_000, 250, 2
VISION_SAMPLES, BASE_SAMPLES, TUNED_SAMPLES = 110_000, 192_000, 90_000
FROZEN_LAYERS, LAMBDA = 3, 0.3


def frames() -> None:
    """Training frames, in parallel."""
    command = [sys.executable, "-m", "sample_data.recipe.frames", "--folder", str(BUILD / "frames")]
    command += ["--posed", str(POSED), "--episodes", str(EXPERT_EPISODES), "--workers", str(WORKERS)]
    workers = [subprocess.Popen([*command, "--worker", str(number)]) for number in range(WORKERS)]
    if any(worker.wait() for worker in workers):
        raise SystemExit("making frames failed; run the stage again, finished blocks are kept")
    held_out(Tabletop(), BUILD / "frames")


def training_frames() -> Frames:
    return Frames.load(sorted(p for p in (BUILD / "frames").glob("*.h5") if p.stem != "held-out"))


def evaluation_frames() -> Frames:
    return Frames.load([BUILD / "frames" / "held-out.h5"])


def see() -> None:
    """Stage 1, the vision tower."""
    vision.train(training_frames(), evaluation_frames(), BUILD, VISION_SAMPLES)


def _tower() -> tuple[torch.nn.Module, vision.PatchReader]:
    model, reader = vision.new_model(), vision.PatchReader()
    tower = model.model.vision_tower
    optimizer = torch.optim.AdamW([*tower.parameters(), *reader.parameters()])
    if not load_state(BUILD / "vision.safetensors", {"tower": tower, "reader": reader}, optimizer):
        raise SystemExit("there is no trained vision tower yet: run the stage 'see' first")
    return tower.eval(), reader


def _features(tower: torch.nn.Module, name: str, frames: Frames) -> np.ndarray:
    path = BUILD / f"features-{name}.npy"
    if path.exists() and len(kept := np.load(path, mmap_mode="r")) == len(frames):
        return np.asarray(kept)
    features = vision.features(tower, frames)
    np.save(path, features)
    return features


def base() -> None:
    """Stage 2, the base policy."""
    (tower, reader), seen, unseen = _tower(), training_frames(), evaluation_frames()
    learner = language.BaseLearner(seen, _features(tower, "training", seen), tower, reader)
    language.train(learner, unseen, _features(tower, "held-out", unseen), BUILD, BASE_SAMPLES)
    save_checkpoint(learner.model, CHECKPOINTS / "base", "tabletop base", rationale=False)


def tuned() -> None:
    """Stage 3, the reasoning-tuned policy."""
    (tower, _), seen = _tower(), training_frames()
    model = PaliGemmaForConditionalGeneration.from_pretrained(CHECKPOINTS / "base", dtype=torch.float32)
    features = _features(tower, "training", seen)
    tuner = tune.Tuner(model, seen, features, FROZEN_LAYERS, LAMBDA, Order.REASON_FIRST)
    print(tuner.transfer, flush=True)
    tune.train(tuner, BUILD, TUNED_SAMPLES)
    save_checkpoint(model, CHECKPOINTS / "tuned", "tabletop reasoning-tuned", rationale=True)


def episodes() -> None:
    """The shipped episodes."""
    ship_episodes(EPISODES)


STAGES = {stage.__name__: stage for stage in (frames, see, base, tuned, episodes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", help=f"which stages, in order: {' '.join(STAGES)}; all if none is named")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    unknown = set(options.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stages {sorted(unknown)}; there are {', '.join(STAGES)}")
    torch.set_num_threads(options.threads)
    BUILD.mkdir(exist_ok=True)
    for name in options.stages or STAGES:
        STAGES[name]()


if __name__ == "__main__":
    main()
