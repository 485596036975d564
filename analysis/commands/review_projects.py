"""``python -m analysis reviews project``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.commands.options import AsJson, print_values
from analysis.commands.review_options import (
    HERE,
    Author,
    ProjectName,
    WorkspacePath,
    find_project,
    open_workspace,
    person,
    read_json,
    read_text,
)

if TYPE_CHECKING:
    from analysis.review import Project, ProjectSettings, ReviewStore

app = typer.Typer(no_args_is_help=True, help="Make, change and list review projects.")


@app.command("list")
def list_projects(workspace: WorkspacePath = HERE, as_json: AsJson = False) -> None:
    """All projects, newest first."""
    store = open_workspace(workspace).reviews
    found = [_summary(store, project) for project in store.projects()]
    if as_json:
        typer.echo(json.dumps(found))
    for one in () if as_json else found:
        typer.echo(
            f"{one['id']}  {one['name']}: {one['reviews']} of {one['wanted']} reviews, {one['items']} rationales"
        )


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="name of the new project")],
    workspace: WorkspacePath = HERE,
    dataset: Annotated[list[str] | None, typer.Option(help="data set; once for each, all if left out")] = None,
    episode: Annotated[list[str] | None, typer.Option(help="episode id; once for each, all if left out")] = None,
    rationale_author: Annotated[list[str] | None, typer.Option(help="teacher or checkpoint digest")] = None,
    record: Annotated[list[str] | None, typer.Option(help="address of a run whose rationales are taken")] = None,
    records: Annotated[bool, typer.Option("--records", help="rationales of all runs of policies")] = False,
    no_data: Annotated[bool, typer.Option("--no-data", help="not those that come with the episodes")] = False,
    every: Annotated[int, typer.Option(help="of a run, a rationale each so many steps")] = 1,
    sample: Annotated[int | None, typer.Option(help="how many are drawn; all if left out")] = None,
    seed: Annotated[int, typer.Option(help="of the sample and of a random order")] = 0,
    settings: Annotated[Path | None, typer.Option(help="JSON file of settings: docs/reviews.md")] = None,
    guidelines: Annotated[Path | None, typer.Option(help="Markdown file")] = None,
    overlap: Annotated[int | None, typer.Option(help="annotators to a rationale")] = None,
    order: Annotated[str | None, typer.Option(help="random, disagreement, grounding or surprise first")] = None,
    open_: Annotated[bool, typer.Option("--open", help="annotators see each other's reviews")] = False,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """A project of the rationales that the options select."""
    from analysis.review import Selection
    from analysis.review.gather import create_project

    selection = Selection(
        datasets=tuple(dataset or ()),
        episodes=tuple(episode or ()),
        authors=tuple(rationale_author or ()),
        records=tuple(record or ()),
        from_data=not no_data,
        from_records=records or bool(record),
        every=every,
        sample=sample,
        seed=seed,
    )
    opened = open_workspace(workspace)
    changes = {"overlap": overlap, "order": order, "blind": False if open_ else None}
    wanted = _settings(name, settings, guidelines, {key: value for key, value in changes.items() if value is not None})
    project = create_project(opened, wanted, selection, person(author))
    print_values(_summary(opened.reviews, project), as_json)


@app.command("edit")
def edit(
    project: ProjectName,
    settings: Annotated[Path, typer.Argument(help="JSON file of the settings that change")],
    workspace: WorkspacePath = HERE,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Change settings; the earlier ones stay in the project's history."""
    from analysis.review.project import settings_from_json, settings_to_json

    store = open_workspace(workspace).reviews
    found = find_project(store, project)
    wanted = settings_from_json(settings_to_json(found.settings) | read_json(settings))
    print_values(_summary(store, store.edit_project(found.id, wanted, found.version, person(author))), as_json)


def _settings(name: str, file: Path | None, guidelines: Path | None, changes: dict[str, Any]) -> ProjectSettings:
    from analysis.review.project import settings_from_json

    settings = settings_from_json((read_json(file) if file is not None else {}) | {"name": name} | changes)
    return settings if guidelines is None else replace(settings, guidelines=read_text(guidelines))


def _summary(store: ReviewStore, project: Project) -> dict[str, Any]:
    told = store.progress(project.id)
    counts = {"items": told.items, "reviews": told.reviews, "wanted": told.wanted}
    return {"id": project.id, "name": project.settings.name, "version": project.version, **counts}
