"""``python -m analysis compare``."""

from __future__ import annotations

from pathlib import Path

from analysis.commands.options import AsJson, Device, Dtype, Opening, OutFile, print_values
from analysis.commands.pair_options import (
    Asked,
    Checkpoint,
    Correct,
    Draw,
    DrawSeed,
    Episodes,
    FirstBase,
    FirstCameras,
    FirstFamily,
    FirstStats,
    Layers,
    Measure,
    SecondBase,
    SecondCameras,
    SecondFamily,
    SecondStats,
    Side,
    StepCount,
    Store,
    measured_pair,
)
from analysis.running import Running


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
    first_stats: FirstStats = None,
    second_stats: SecondStats = None,
    first_family: FirstFamily = None,
    second_family: SecondFamily = None,
    first_base: FirstBase = None,
    second_base: SecondBase = None,
    first_camera: FirstCameras = None,
    second_camera: SecondCameras = None,
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
    running = Running(device, dtype)
    one = Side(Opening(first, first_stats, first_family, first_base, running), first_camera)
    two = Side(Opening(second, second_stats, second_family, second_base, running), second_camera)
    asked = Asked(episodes, workspace, steps, measure, correction, layers, draw, draw_seed)
    result, _, _ = measured_pair(one, two, asked)
    if out is not None:
        write_chart(charts.comparison_chart(result), out)
    print_values(describe.pair_values(result), as_json, short=describe.pair_text(result))
