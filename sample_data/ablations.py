"""The ablations of the recipe: one factor at a time around the default, all from the shipped base.

``python -m sample_data.ablations`` prints the table from ``ablations.json``; ``train`` and ``measure`` make it anew in
``build/ablations`` and go on where they were killed; ``collect`` remembers what has been measured so far.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a busy two-core machine
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from models.refine.settings import Order, TuneSettings

HERE = Path(__file__).parent
FILE = HERE / "ablations.json"
BUILD = HERE.parent / "build"
RUNS = BUILD / "ablations"
BASE = HERE / "checkpoints" / "base"
MAX_TOKENS = 110
DEFAULT = TuneSettings(
    reasoning_weight=0.3, order=Order.REASON_FIRST, frozen_layers=2, steps=220, batch=16, learning_rate=1e-3,
    warm_up=20, soft_bins=2.5, noisy_actions=0.3, seed=11, save_every=20, log_every=10,
)  # fmt: skip
ROWS: Mapping[str, TuneSettings] = {
    "default": DEFAULT,
    "action-only": replace(DEFAULT, order=Order.ACT_ONLY),
    "action-first": replace(DEFAULT, order=Order.ACT_FIRST),
    "lambda-0": replace(DEFAULT, reasoning_weight=0.0),
    "lambda-1": replace(DEFAULT, reasoning_weight=1.0),
    "lambda-0.1": replace(DEFAULT, reasoning_weight=0.1),
    "frozen-4": replace(DEFAULT, frozen_layers=4),  # all but two
    "frozen-0": replace(DEFAULT, frozen_layers=0),  # none
    "frozen-3": replace(DEFAULT, frozen_layers=3),  # half
}


def train(names: list[str]) -> None:
    """One checkpoint a row."""
    import torch

    from models.checkpoint_files import CheckpointFiles
    from models.refine.learner import Learner
    from models.refine.tune import tune
    from sample_data.recipe.demonstrations import FrameDemonstrations
    from sample_data.recipe.frames import Frames

    torch.set_num_threads(1)
    files = sorted((BUILD / "frames").glob("episodes-*.h5")) + sorted((BUILD / "frames").glob("posed-*.h5"))[:4]
    frames = Frames.load(files)
    for name in names:
        settings = ROWS[name]
        if (RUNS / name / "config.json").exists():
            continue
        learner = Learner.open(CheckpointFiles.open(BASE), settings.order, max_tokens=MAX_TOKENS)
        demonstrations = FrameDemonstrations(frames, settings.seed)
        made_of = {"base": learner.files.digest(), "data": f"{len(frames)} frames of the sample world"}
        print(tune(learner, demonstrations, settings, RUNS / name, made_of, f"ablation {name}"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="table", choices=("table", "train"))
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), default=list(ROWS))
    options = parser.parse_args()
    if options.what == "train":
        train(options.only)


if __name__ == "__main__":
    main()
