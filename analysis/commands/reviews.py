"""``python -m analysis reviews``: progress, agreement, export and import; projects are in review_projects.py."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.commands.options import AsJson, print_values
from analysis.commands.review_options import (
    HERE,
    Author,
    Least,
    ProjectName,
    RuleName,
    WorkspacePath,
    find_project,
    open_workspace,
    person,
)
from analysis.commands.review_projects import app as project_app
from models.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Reviews of rationales by people: docs/reviews.md.")
app.add_typer(project_app, name="project")


@app.command()
def progress(project: ProjectName, workspace: WorkspacePath = HERE, as_json: AsJson = False) -> None:
    """How far a project and its annotators are."""
    from analysis.review.report import progress_text

    store = open_workspace(workspace).reviews
    told = store.progress(find_project(store, project).id)
    print_values(json.loads(json.dumps(asdict(told), default=str)), as_json, short=progress_text(told))


@app.command()
def agreement(
    project: ProjectName,
    workspace: WorkspacePath = HERE,
    resamples: Annotated[int, typer.Option(help="of the bootstrap intervals")] = 1000,
    as_json: AsJson = False,
) -> None:
    """How far annotators agree with each other and with gold, with 95 % intervals."""
    from analysis.review.agreement import agreement as measured
    from analysis.review.report import agreement_json, agreement_text

    store = open_workspace(workspace).reviews
    found = find_project(store, project)
    told = measured(store.reviews(found.id), found.settings.labels, store.gold(found.id), resamples)
    print_values(agreement_json(told), as_json, short=agreement_text(told))


@app.command("export")
def export(
    project: ProjectName,
    out: Annotated[Path, typer.Argument(help="new file (jsonl, csv) or folder (hdf5, lerobot)", metavar="OUT")],
    format: Annotated[str, typer.Option(help="jsonl, csv, hdf5 or lerobot")] = "jsonl",
    rule: RuleName = "majority",
    least: Least = 1,
    dataset: Annotated[list[str] | None, typer.Option(help="episodes of these data sets only")] = None,
    no_notes: Annotated[bool, typer.Option("--no-notes", help="episodes without how they were reviewed")] = False,
    video: Annotated[bool, typer.Option("--video", help="LeRobot: frames as mp4, which loses a little")] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="leave out what cannot be read")] = False,
    workspace: WorkspacePath = HERE,
    as_json: AsJson = False,
) -> None:
    """Everything as lines of JSON, what counts as a table, or what was accepted and corrected with its episodes."""
    from analysis.review.final import Rule
    from analysis.review.outgoing import export_project

    opened = open_workspace(workspace)
    id, wanted = find_project(opened.reviews, project).id, Rule(rule, least)
    told = export_project(
        opened,
        id,
        out,
        format,
        wanted,
        datasets=dataset or (),
        notes=not no_notes,
        video=video,
        skip_broken=skip_broken,
    )
    for reason in told.skipped:
        typer.echo(f"skipped: {reason}", err=True)
    print_values({**asdict(told), "path": str(told.path)}, as_json, short=str(told.path))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="lines of JSON: an archive, or rationales")],
    project: Annotated[str | None, typer.Option(help="id or name of the project to put them into")] = None,
    name: Annotated[str | None, typer.Option(help="of a new project, for a file of rationales")] = None,
    workspace: WorkspacePath = HERE,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Put earlier reviews, or rationales to review, into a project; what is there already stays."""
    from analysis.review import ProjectSettings
    from analysis.review.incoming import is_archive, read_file, read_rationales

    opened, who = open_workspace(workspace), person(author)
    store, lines = opened.reviews, read_file(file)
    target = None if project is None else find_project(store, project).id
    if not is_archive(lines):
        sources = read_rationales(lines, opened)
        if target is None and name is None:
            raise UserError(f"{file} holds rationales; say with --project or --name which project they are for")
        if name is not None:
            target = store.create_project(ProjectSettings(name), sources, who).id
            added = len(store.items(target))
        else:
            added = store.add_items(str(target), sources, who)
        print_values({"project": target, "items": added}, as_json)
        return
    if name is not None:
        raise UserError(
            f"{file} is an archive of reviews, and --name is for rationales; leave it out to get the archive's own "
            "project, or name with --project one to put the reviews into"
        )
    told = store.restore(lines, who, target)
    for reason in told.refused:
        typer.echo(f"refused: {reason}", err=True)
    values: dict[str, Any] = {**asdict(told), "project": told.project.id, "refused": len(told.refused)}
    print_values(values, as_json)
    if told.refused:
        sys.exit(1)
