"""Makes everything in this folder again, from nothing: ``make samples``, or ``python -m sample_data.make STAGE ...``.

Stages leave their work in ``build/`` and go on where they were killed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a busy two-core machine
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch
from transformers import PaliGemmaForConditionalGeneration

from models.refine.examples import Order
from sample_data import figures
from sample_data.counter.counter import Counter
from sample_data.recipe import language, tune, vision
from sample_data.recipe.architecture import save_checkpoint
from sample_data.recipe.frames import Frames, held_out
from sample_data.recipe.resume import load_state
from sample_data.recipe.ship import FIRST_SEED, ship_episodes
from sample_data.world.tabletop import Tabletop

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
FRAMES = str(BUILD / "frames")
CHECKPOINTS, EPISODES, COUNTER_EPISODES = HERE / "checkpoints", HERE / "episodes", HERE / "counter_episodes"
POSED, EXPERT_EPISODES, WORKERS = 16_000, 250, 2
ROLLOUTS = 120
VISION_SAMPLES, BASE_SAMPLES, CORRECTED_SAMPLES, TUNED_SAMPLES = 110_000, 192_000, 64_000, 224_000
FROZEN_LAYERS, LAMBDA = 2, 0.3


def frames() -> None:
    """Training frames, in parallel."""
    _in_parallel("frames", "--folder", FRAMES, "--posed", str(POSED), "--episodes", str(EXPERT_EPISODES))
    held_out(Tabletop(), BUILD / "frames")


def _in_parallel(module: str, *options: str) -> None:
    command = [sys.executable, "-m", f"sample_data.recipe.{module}", *options]
    workers = [
        subprocess.Popen([*command, "--worker", str(number), "--workers", str(WORKERS)]) for number in range(WORKERS)
    ]
    codes = [worker.wait() for worker in workers]  # all of them, before one failure ends the stage
    if any(codes):
        raise SystemExit(f"making {module} failed; run the stage again, finished blocks are kept")


def training_frames(kinds: Sequence[str] = ("episodes", "posed")) -> Frames:
    return Frames.load([path for kind in kinds for path in sorted((BUILD / "frames").glob(f"{kind}-*.h5"))])


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
    """Stage 2, the base policy; kept in build/, for it is not the last word."""
    (tower, reader), seen, unseen = _tower(), training_frames(), evaluation_frames()
    learner = language.BaseLearner(seen, _features(tower, "training", seen), tower, reader)
    language.train(learner, unseen, _features(tower, "held-out", unseen), BUILD, BASE_SAMPLES)
    save_checkpoint(learner.model, BUILD / "first-base", "tabletop base", rationale=False)


def correct() -> None:
    """Stage 3: frames of the base policy's own rollouts, and a second round of training with them."""
    _in_parallel(
        "corrections", "--folder", FRAMES, "--checkpoint", str(BUILD / "first-base"), "--rollouts", str(ROLLOUTS)
    )
    (tower, reader), unseen = _tower(), evaluation_frames()
    seen, features = _all_training(tower)
    learner = language.BaseLearner(seen, features, tower, reader)
    optimizer = torch.optim.AdamW(learner.parameters)
    if not load_state(BUILD / "base-state.safetensors", learner.modules, optimizer):
        raise SystemExit("there is no base policy to correct yet: run the stage 'base' first")
    held = _features(tower, "held-out", unseen)
    language.train(learner, unseen, held, BUILD, CORRECTED_SAMPLES, name="corrected", rate=8e-4, warm_up=0.0)
    save_checkpoint(learner.model, CHECKPOINTS / "base", "tabletop base", rationale=False)


def _all_training(tower: torch.nn.Module) -> tuple[Frames, np.ndarray]:
    """Frames of every kind and their features, the corrections first."""
    parts = [_features(tower, name, training_frames(kinds)) for name, kinds in _FEATURE_FILES.items()]
    kinds = [kind for group in _FEATURE_FILES.values() for kind in group]
    return training_frames(kinds), np.concatenate(parts)


_FEATURE_FILES = {"corrections": ("corrections",), "training": ("episodes", "posed")}


def tuned() -> None:
    """Stage 4, the reasoning-tuned policy."""
    tower, _ = _tower()
    seen, features = _all_training(tower)
    model = PaliGemmaForConditionalGeneration.from_pretrained(CHECKPOINTS / "base", dtype=torch.float32)
    tuner = tune.Tuner(model, seen, features, FROZEN_LAYERS, LAMBDA, Order.REASON_FIRST)
    print(tuner.transfer, flush=True)
    tune.train(tuner, BUILD, TUNED_SAMPLES)
    save_checkpoint(model, CHECKPOINTS / "tuned", "tabletop reasoning-tuned", rationale=True)


def episodes() -> None:
    """The shipped episodes of both robots."""
    ship_episodes(EPISODES, Tabletop(), per_task=6, first_seed=FIRST_SEED)
    ship_episodes(COUNTER_EPISODES, Counter(), per_task=2, first_seed=FIRST_SEED)


def measure() -> None:
    """Both policies and those that see nothing, and the table of figures."""
    evaluation = BUILD / "evaluation"
    for name in ("expert", "still", "random", "phase", str(CHECKPOINTS / "base"), str(CHECKPOINTS / "tuned")):
        _in_parallel("evaluate", name, "--folder", str(evaluation))
    figures.FILE.write_text(json.dumps(figures.collect(evaluation), indent=1) + "\n")
    print(figures.table(json.loads(figures.FILE.read_text())))


STAGES = {stage.__name__: stage for stage in (frames, see, base, correct, tuned, episodes, measure)}


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
