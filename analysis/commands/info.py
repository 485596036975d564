"""``python -m analysis info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from analysis import describe
from analysis.checkpoint_list import looks_like_checkpoint
from analysis.commands.options import WORKSPACE, AsJson, Base, Family, InWorkspace, only_id, print_values, source_at
from analysis.episodes.source import place_of
from analysis.workspace import Workspace
from analysis.workspace_config import CONFIG


def info(
    path: Annotated[Path, typer.Argument(help="episodes, checkpoint or workspace")],
    family: Family = None,
    base: Base = None,
    workspace: InWorkspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Say what an episode file or folder, a checkpoint or a workspace holds, and what is wrong with it."""
    if not (path / CONFIG).is_file() and looks_like_checkpoint(path):
        import models

        spec, families = models.inspect(path, family=family, base=base), models.alternatives(path, base)
        print_values(describe.checkpoint(spec, families), as_json, short=describe.checkpoint_text(spec, families))
    else:
        print_values(_described(path, workspace), as_json)


def _described(path: Path, workspace: Path) -> dict[str, Any]:
    if (path / CONFIG).is_file():
        return describe.workspace(Workspace.open(path))
    source = source_at(path, workspace)
    if path.is_file():
        only_id(source, path)
    return describe.episodes(source, place_of(Path(getattr(source, "root", path))))
