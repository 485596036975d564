"""``python -m analysis report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.commands.compare import (
    Checkpoint,
    Correct,
    Draw,
    Episodes,
    Layers,
    Measure,
    StepCount,
    Store,
    measured_pair,
)
from analysis.commands.options import AsJson, Device, Dtype, Opening, print_values
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
    layers: Layers = True,
    pictures: Annotated[int, typer.Option(help="steps shown with frames and maps", min=0, max=20)] = 3,
    device: Device = "cpu",
    dtype: Dtype = None,
    as_json: AsJson = False,
) -> None:
    """Write a comparison of two checkpoints as one self-contained HTML file; measures as `compare` does."""
    from analysis.evidence.exhibits import exhibits
    from analysis.evidence.report import report_html

    if out.is_dir():
        raise UserError(f"{out} is a folder; name the HTML file to write")
    sides = tuple(Opening(path, None, None, None, Running(device, dtype)) for path in (first, second))
    pair, policies, subjects = measured_pair(
        (sides[0], sides[1]), episodes, workspace, steps, measure, correction, draw, layers
    )
    html = report_html(pair, exhibits(policies, subjects, pair.comparison, pictures) if pictures else ())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")
    print_values({"report": str(out), "bytes": len(html.encode())}, as_json, short=str(out))
