"""The ablations of the recipe: one factor at a time around the default, all from the shipped base.

``python -m sample_data.ablations`` prints the table from ``ablations.json``; ``train`` and ``measure`` make it anew in
``build/ablations`` and go on where they were killed; ``collect`` remembers what has been measured so far.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
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
NAMES = ("base", *ROWS, "tuned")
EPISODES = HERE / "episodes"  # seeds 100 to 123, which no training saw
FIRST_SEED = 500_000
TITLES = {
    "base": "the base, not tuned", "default": "**default**", "action-only": "action-only control, equal steps",
    "action-first": "action first", "lambda-0": "lambda 0", "lambda-0.1": "lambda 0.1", "lambda-1": "lambda 1",
    "frozen-0": "none frozen", "frozen-3": "half frozen", "frozen-4": "all but two frozen",
    "tuned": "the shipped tuned policy, 224,000 samples",
}  # fmt: skip
COLUMNS = {  # title -> figure
    "error x, mm": "action error, x", "error y, mm": "action error, y", "error z, mm": "action error, z",
    "success": "success", "grasped": "grasped the right object", "well formed": "rationale: all parts said",
    "object": "rationale: right object", "receptacle": "rationale: right receptacle",
    "direction": "rationale: right direction", "nothing invented": "rationale: no object that is not there",
    "attention / area": "attention on the named things / their area",
}  # fmt: skip


def train(names: list[str]) -> None:
    """One checkpoint a row."""
    import torch

    from models.checkpoint_files import CheckpointFiles
    from models.refine.paligemma_learner import PaliGemmaLearner
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
        learner = PaliGemmaLearner.open(CheckpointFiles.open(BASE), settings.order, max_tokens=MAX_TOKENS)
        demonstrations = FrameDemonstrations(frames, settings.seed)
        made_of = {"base": learner.files.digest(), "data": f"{len(frames)} frames of the sample world"}
        print(tune(learner, demonstrations, settings, RUNS / name, made_of, f"ablation {name}"), flush=True)


def _checkpoint(name: str) -> tuple[Path, Order]:
    shipped = {"base": (BASE, Order.ACT_ONLY), "tuned": (BASE.parent / "tuned", Order.REASON_FIRST)}
    return shipped.get(name) or (RUNS / name, ROWS[name].order)


def measure(names: list[str], seeds: int, block: int = 8) -> None:
    """Of every row that is trained: open loop and attention, then rollouts, block by block of seeds for all rows."""
    import torch

    from sample_data.closed_loop import TabletopWorld
    from sample_data.recipe.ablation_trials import measure_closed, measure_open

    torch.set_num_threads(1)
    worlds: list[TabletopWorld] = []
    for start in range(-block, seeds, block):
        for name in names:
            folder, order = _checkpoint(name)
            if not (folder / "config.json").exists():
                continue
            if start < 0:
                measure_open(folder, order, EPISODES, RUNS / "results" / f"{name}-open.jsonl")
            else:
                worlds += [TabletopWorld() for _ in range(block - len(worlds))]
                chosen = range(FIRST_SEED + start, FIRST_SEED + min(start + block, seeds))
                measure_closed(folder, order, chosen, RUNS / "results" / f"{name}-closed.jsonl", worlds)
            print(f"measured {name} {start}", flush=True)


def collect() -> None:
    """Figures of what has been measured here so far, into ``ablations.json``; rows measured elsewhere stay there."""
    from analysis.evaluation.kept_lines import read_lines
    from analysis.evaluation.summary import closed_loop, compare_rollouts, open_loop
    from sample_data.world.moment import ACTION_NAMES, ACTION_UNITS

    rows: dict[str, dict] = json.loads(FILE.read_text()) if FILE.exists() else {}
    rollouts = {}
    for name in NAMES:
        opened = read_lines(RUNS / "results" / f"{name}-open.jsonl")
        rollouts[name] = read_lines(RUNS / "results" / f"{name}-closed.jsonl")
        if not opened and not rollouts[name]:
            continue
        found = [*open_loop(opened, ACTION_NAMES, ACTION_UNITS), *closed_loop(list(rollouts[name].values()))]
        settings = ROWS[name].as_json() if name in ROWS else DEFAULT.as_json() if name == "tuned" else {}
        figures = {figure.name: {**asdict(figure), "text": figure.text} for figure in found}
        rows[name] = {"settings": settings, "figures": figures}
    for name in ROWS:
        if rollouts.get(name) and rollouts.get("default"):
            tests = compare_rollouts(rollouts["default"], rollouts[name])
            rows[name]["against the default"] = {test.name: test.p for test in tests}
    FILE.write_text(json.dumps({name: rows[name] for name in NAMES if name in rows}, indent=1) + "\n")


def table(rows: dict[str, dict]) -> str:
    """Markdown. Means are over episodes; "n =" is said where they are not all 24 episodes."""
    head = ["run", "lambda", "frozen layers", "order", *COLUMNS]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        settings, figures = row["settings"], row["figures"]
        if not figures:
            continue
        shown = [settings.get("reasoning_weight", "-"), settings.get("frozen_layers", "-"), settings.get("order", "-")]
        cells = [_cell(figures.get(figure)) for figure in COLUMNS.values()]
        lines.append("| " + " | ".join([TITLES.get(name, name), *map(str, shown), *cells]) + " |")
    return "\n".join(lines)


def _cell(figure: dict | None) -> str:
    """A share as it is; an error in millimetres."""
    if figure is None:
        return "-"
    if figure["successes"] is not None:
        return str(figure["text"])
    scale = 1e3 if figure["unit"] == "m" else 1.0
    value, low, high = (scale * figure[key] for key in ("value", "low", "high"))
    few = "" if figure["n"] == 24 else f", n = {figure['n']}"
    return f"{value:.2f} ({low:.2f}-{high:.2f}{few})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="table", choices=("table", "train", "measure", "collect"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seeds", type=int, default=40)
    options = parser.parse_args()
    if options.what == "train":
        train([name for name in options.only if name in ROWS])
    elif options.what == "measure":
        measure(options.only, options.seeds)
    elif options.what == "collect":
        collect()
    if options.what in ("table", "collect"):
        print(table(json.loads(FILE.read_text())))


if __name__ == "__main__":
    main()
