"""``python -m analysis report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.commands.options import AsJson, Device, Dtype, Opening, print_values
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
from models.errors import UserError


def report(
    first: Checkpoint,
    second: Checkpoint,
    episodes: Episodes,
    out: Annotated[Path, typer.Option(help="HTML file to write")],
    workspace: Store = Path("workspace"),
    steps: StepCount = 4,
    measure: Measure = None,
    correction: Correct = "holm",
    draw: Draw = None,
    draw_seed: DrawSeed = 0,
    layers: Layers = True,
    pictures: Annotated[int, typer.Option(help="steps shown with frames and maps", min=0, max=20)] = 3,
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
    as_json: AsJson = False,
) -> None:
    """Write a comparison of two checkpoints as one self-contained HTML file; measures as `compare` does."""
    from analysis.evidence.exhibits import exhibits
    from analysis.evidence.report import report_html

    if out.is_dir():
        raise UserError(f"{out} is a folder; name the HTML file to write")
    running = Running(device, dtype)
    one = Side(Opening(first, first_stats, first_family, first_base, running), first_camera)
    two = Side(Opening(second, second_stats, second_family, second_base, running), second_camera)
    asked = Asked(episodes, workspace, steps, measure, correction, layers, draw, draw_seed)
    pair, policies, subjects = measured_pair(one, two, asked)
    html = report_html(pair, exhibits(policies, subjects, pair.comparison, pictures) if pictures else ())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")
    print_values({"report": str(out), "bytes": len(html.encode())}, as_json, short=str(out))
