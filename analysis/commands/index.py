"""``python -m analysis index``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.catalogue import Filter
from analysis.commands.options import AsJson, print_values
from analysis.index_update import IndexProgress
from analysis.workspace import Workspace


def index(
    workspace: Annotated[Path, typer.Argument(help="folder with workspace.toml", metavar="WORKSPACE")],
    as_json: AsJson = False,
) -> None:
    """Bring a workspace's index of episodes and annotations up to date, as the app does: docs/episode-index.md."""
    opened = Workspace.open(workspace)
    with tqdm(unit="episode", file=sys.stderr) as bar:

        def progress(told: IndexProgress) -> None:
            if bar.desc.removesuffix(": ") != told.what:
                bar.reset(told.total)
                bar.unit = "episode" if told.total is None else "B"
                bar.set_description_str(told.what)
            bar.update(told.done - bar.n)

        done = opened.update_index(progress)
    for problem in done.problems:
        typer.echo(f"cannot be used: {problem.path}: {problem.reason}", err=True)
    counts = []
    for dataset in opened.datasets():
        found = opened.index.overview(Filter(datasets=(dataset.name,)))
        counts.append(
            {"name": dataset.name, "episodes": found.episodes, "broken": found.broken, "steps": found.steps}
            | {"with_rationale": found.with_rationale, "scanned": dataset.name in done.changed}
        )
    print_values({"path": str(opened.path), "datasets": counts}, as_json)
