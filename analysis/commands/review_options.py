"""What the commands about reviews ask for and do alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import UserError

if TYPE_CHECKING:
    from analysis.review import Project, ReviewStore
    from analysis.workspace import Workspace

WorkspacePath = Annotated[Path, typer.Option("--workspace", help="folder of the workspace")]
ProjectName = Annotated[str, typer.Argument(help="id or name of a project", metavar="PROJECT")]
Author = Annotated[str | None, typer.Option(help="who does this; default: the user's name on this machine")]
RuleName = Annotated[str, typer.Option(help="all, majority or adjudicated")]
Least = Annotated[int, typer.Option(help="reviews that a rationale needs, unless it was adjudicated")]
HERE = Path("workspace")


def open_workspace(workspace: Path) -> Workspace:
    from analysis.workspace import Workspace

    if not (workspace / "workspace.toml").exists():
        raise UserError(f"{workspace} has no workspace.toml; name the workspace with --workspace")
    return Workspace.open(workspace)


def find_project(store: ReviewStore, name: str) -> Project:
    found = [project for project in store.projects() if name in (project.id, project.settings.name)]
    if len(found) != 1:
        known = ", ".join(f"{one.settings.name} ({one.id})" for one in store.projects()) or "none"
        raise UserError(f"{len(found)} projects are called {name!r}; there are {known}")
    return found[0]


def person(author: str | None) -> str:
    import getpass

    return author or getpass.getuser()


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as text: {error}") from None


def read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds a JSON {type(values).__name__}; expected an object of settings")
    return values
