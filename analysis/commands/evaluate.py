"""``python -m analysis evaluate``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from analysis.commands.options import ActionStats, AsJson, Base, CheckpointPath, Device, Dtype, Opening, open_policy
from analysis.running import Running
from models.errors import UserError
from models.policy import Policy


def evaluate(
    checkpoint: CheckpointPath,
    out: Annotated[Path, typer.Option(help="folder for results and rollouts; the same again goes on")],
    against: Annotated[
        Path | None, typer.Option(help="a second checkpoint on the same trials, such as the base")
    ] = None,
    episodes: Annotated[list[Path] | None, typer.Option(help="open loop: files or folders of episodes")] = None,
    id: Annotated[list[str] | None, typer.Option("--id", help="an episode; once for each; all if left out")] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="only what finetune held out for CHECKPOINT")] = False,
    every: Annotated[int, typer.Option(help="open loop: each such step of an episode")] = 1,
    world: Annotated[str | None, typer.Option(help="closed loop: tabletop, counter, or module:class")] = None,
    seeds: Annotated[str, typer.Option(help="closed loop: first:stop")] = "500000:500100",
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="keep rollouts as episodes in OUT/rollouts")] = True,
    camera: Annotated[list[str] | None, typer.Option("--camera", help="of the episodes; once for each")] = None,
    action_stats: ActionStats = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Measure a policy on recorded episodes and in a simulated world, with intervals: docs/evaluate.md."""
    from analysis.evaluation.run import OpenLoop, check_policy, check_request, measure_closed, measure_open
    from analysis.evaluation.summary import as_table, closed_loop, compare_errors, compare_rollouts, open_loop
    from analysis.evaluation.world import open_world

    if not episodes and world is None:
        raise UserError("say what to measure: --episodes for open loop, --world for closed loop, or both")
    wanted = _seeds(seeds) if world is not None else range(0)
    asked = OpenLoop(
        tuple(episodes or ()), tuple(id or ()), checkpoint if held_out else None, every, tuple(camera or ())
    )
    trials = check_request(asked) if episodes else None
    stage = open_world(world) if world is not None else None
    policies: dict[str, Policy] = {}
    for path in [checkpoint, *([against] if against is not None else [])]:
        name = path.resolve().name if path.resolve().name not in policies else f"{path.resolve().name} (second)"
        policies[name] = open_policy(Opening(path, action_stats, None, base, Running(device, dtype)))
        check_policy(policies[name], stage)
    figures: dict[str, Any] = {}
    opened: dict[str, Any] = {}
    for name, policy in policies.items():
        space, place = check_policy(policy), out / policy.info.digest
        found: dict[str, Any] = {"policy": policy, "open": {}, "closed": {}}
        total = len(wanted) + (len(trials.episodes) if trials is not None else 0)
        with tqdm(total=total, unit=" trials", desc=name, file=sys.stderr) as bar:
            if trials is not None:
                found["open"] = measure_open(policy, trials, asked, place, bar)
            if world is not None and stage is not None:
                rollouts = out / "rollouts" / name if keep else None
                found["closed"] = measure_closed(policy, stage, world, wanted, place, rollouts, bar)
        outcomes = closed_loop(list(found["closed"].values()))
        figures[name] = [*open_loop(found["open"], space.names, space.units), *outcomes]
        opened[name] = found
    tests = []
    if len(opened) == 2:
        first, second = opened.values()
        names = check_policy(first["policy"]).names
        tests = [
            *compare_errors(first["open"], second["open"], names),
            *compare_rollouts(first["closed"], second["closed"]),
        ]
    report = {
        "policies": {name: found["policy"].info.digest for name, found in opened.items()},
        "figures": {name: [asdict(each) for each in found] for name, found in figures.items()},
        "tests": [asdict(each) for each in tests],
        "seeds": seeds if world is not None else None,
        "world": world,
        "every": every,
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(report) if as_json else as_table(figures, tests))


def _seeds(text: str) -> range:
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise UserError(f"the seeds are {text!r}; expected first:stop, such as 500000:500100") from None
    if not 0 <= first < stop:
        raise UserError(f"the seeds {text!r} name none; expected first:stop, such as 500000:500100")
    return range(first, stop)
