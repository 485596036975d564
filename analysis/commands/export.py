"""``python -m analysis export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.commands.options import WORKSPACE, AsJson, InWorkspace, print_values, source_at
from analysis.export import export_episodes


def export(
    source: Annotated[Path, typer.Argument(help="file or folder of episodes in any format", metavar="SOURCE")],
    out: Annotated[Path, typer.Argument(help="new folder", metavar="OUT")],
    format: Annotated[str, typer.Option(help="hdf5 (ours) or lerobot (version 3)")],
    id: Annotated[list[str] | None, typer.Option("--id", help="an episode; once for each; all if left out")] = None,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="leave out what cannot be read")] = False,
    video: Annotated[bool, typer.Option("--video", help="LeRobot: frames as mp4, which loses a little")] = False,
    workspace: InWorkspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write episodes with their rationales to a new folder that training elsewhere reads: docs/export.md."""
    with tqdm(unit="episode", desc=f"to {format}", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        told = export_episodes(
            source_at(source, workspace),
            out,
            format,
            ids=id or None,
            skip_broken=skip_broken,
            video=video,
            progress=progress,
        )
    for one in told.skipped:
        typer.echo(f"skipped: {one.path}: {one.reason}", err=True)
    result = {"path": str(told.path), "format": told.format, "episodes": told.episodes, "steps": told.steps}
    print_values(result | {"skipped": [vars(one) for one in told.skipped]}, as_json, short=str(told.path))
