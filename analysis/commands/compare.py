"""``python -m analysis compare``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from analysis.commands.options import (
    AsJson,
    Device,
    Dtype,
    Opening,
    OutFile,
    open_policy,
    opened_as,
    print_values,
    source_at,
)
from analysis.evidence.probe import QUICK
from analysis.running import Running
from analysis.workspace import Workspace
from models.errors import UserError
from models.policy import Policy
from models.registry import function

if TYPE_CHECKING:
    from analysis.evidence.measurements import Subject
    from analysis.evidence.pair import Pair
    from analysis.metrics.significance import Correction

CORRECTIONS: Mapping[str, Correction] = {name: name for name in ("holm", "benjamini-hochberg", "none")}

Checkpoint = Annotated[Path, typer.Argument(help="folder of a checkpoint")]
Episodes = Annotated[list[Path], typer.Argument(help="episode files, or folders whose episodes are all taken")]
Store = Annotated[Path, typer.Option(help="folder that keeps what was measured")]
StepCount = Annotated[int, typer.Option(help="steps of each episode, evenly spread", min=1)]
Measure = Annotated[
    list[str] | None,
    typer.Option(
        help="action, attention, instruction, rationale, routes, lens, significance (ISS), faithfulness; once for each"
    ),
]
Correct = Annotated[str, typer.Option(help="for the number of metrics: holm, benjamini-hochberg or none")]
Draw = Annotated[
    float | None, typer.Option("--draw", help="temperature at which both draw their tokens, with different seeds")
]
DrawSeed = Annotated[int, typer.Option(help="of the first's draws; the second draws with the next one", min=0)]
Layers = Annotated[bool, typer.Option(help="also compare the two layer by layer at equal input")]


def compare(
    first: Checkpoint,
    second: Checkpoint,
    episodes: Episodes,
    workspace: Store = Path("workspace"),
    steps: StepCount = 4,
    measure: Measure = None,
    correction: Correct = "holm",
    draw: Draw = None,
    draw_seed: DrawSeed = 0,
    layers: Layers = True,
    first_stats: Annotated[str | None, typer.Option(help="data set whose statistics scale the first's actions")] = None,
    second_stats: Annotated[str | None, typer.Option(help="the same for the second")] = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    out: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare two checkpoints over episodes: every metric with intervals, tests, steps that differ most, layers.

    Resumes where it was interrupted. The same checkpoint twice, or with --draw, is an A/A run: it must find nothing.
    """
    from analysis.evidence import charts, describe
    from analysis.pictures.chart_files import check_ending, write_chart

    if out is not None:
        check_ending(out)
    sides = (
        Opening(first, first_stats, None, None, Running(device, dtype)),
        Opening(second, second_stats, None, None, Running(device, dtype)),
    )
    result, _, _ = measured_pair(sides, episodes, workspace, steps, measure, correction, draw, layers, draw_seed)
    if out is not None:
        write_chart(charts.comparison_chart(result), out)
    print_values(describe.pair_values(result), as_json, short=describe.pair_text(result))


def measured_pair(
    sides: tuple[Opening, Opening],
    episodes: Sequence[Path],
    workspace: Path,
    steps: int,
    measure: Sequence[str] | None,
    correction: str,
    draw: float | None,
    layers: bool,
    draw_seed: int = 0,
) -> tuple[Pair, tuple[Policy, Policy], tuple[list[Subject], list[Subject]]]:
    """Opens what is named and measures what the workspace's records do not hold; progress goes to stderr.

    The policies, and the episodes as each sees them, come with the result.
    """
    from analysis.evidence.drawn import read_drawn
    from analysis.evidence.episodes import episodes_at, subject
    from analysis.evidence.pair import measure_pair
    from analysis.evidence.probe import probe

    if correction not in CORRECTIONS:
        raise UserError(f"there is no correction {correction!r}; there are {', '.join(CORRECTIONS)}")
    probes = [probe(name) for name in dict.fromkeys(measure or QUICK)]
    opened = episodes_at(episodes, partial(source_at, workspace=workspace))
    policies = [open_policy(side) for side in sides]
    settings = [opened_as(side, policy) for side, policy in zip(sides, policies, strict=True)]
    if draw is not None:
        policies = [_drawing(policy, draw, seed) for seed, policy in enumerate(policies, draw_seed)]
        settings = [each | {"temperature": draw, "seed": seed} for seed, each in enumerate(settings, draw_seed)]
    boxes = [read_drawn(workspace, episode.meta.digest) for episode in opened]
    subjects = [
        [
            subject(policy.info, episode, drawn=drawn, opened_as=own)
            for episode, drawn in zip(opened, boxes, strict=True)
        ]
        for policy, own in zip(policies, settings, strict=True)
    ]
    records = Workspace.open(workspace).records
    with tqdm(unit="step", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        pair = measure_pair(
            (policies[0], policies[1]),
            (subjects[0], subjects[1]),
            probes,
            records,
            steps,
            progress,
            CORRECTIONS[correction],
            layers,
        )
    return pair, (policies[0], policies[1]), (subjects[0], subjects[1])


def _drawing(policy: Policy, temperature: float, seed: int) -> Policy:
    made: Policy = function("models.sampled:Sampled")(policy, temperature, seed)
    return made
