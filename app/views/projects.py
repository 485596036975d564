"""Review projects: how far they are, how annotators agree, conflicts, gold answers, settings, files. For leads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from analysis.people import Person
from analysis.review import Project, ReviewStore
from app import entrance, library, review_session
from app.components.review_component import review_desk
from app.plain_text import plain
from app.views import project_agreement, project_files, project_progress, project_settings
from app.views.review import guidelines, known_names
from models.errors import UserError

NEW = "New project"


def show() -> None:
    """Asks who leads and which project, then draws the part of it that is asked for."""
    try:
        store = library.current().reviews()
        projects = store.projects()
        person = entrance.person(library.current().workspace, lambda: known_names(store, projects))
        if person is None:
            return
        if not person.role.leads:
            st.error("This page is for leads; ask an admin to name you under [people] in workspace.toml.")
            return
        _draw(store, projects, person)
    except UserError as error:
        library.current().forget_reviews()
        st.error(plain(str(error)))
        st.button("Try again", key="try_again")


def _draw(store: ReviewStore, projects: tuple[Project, ...], person: Person) -> None:
    if not projects or review_session.making_project():
        project_settings.new(person, first=not projects)
        return
    with st.sidebar:
        project = review_session.choose_project(projects)
        st.button(NEW, on_click=review_session.make_project, icon=":material/add:", key="new_project")
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.markdown(f"#### {plain(project.settings.name)}")
    right.caption(
        f"version {project.version}, changed by {plain(project.changed_by)} {project.changed:%Y-%m-%d %H:%M} UTC"
    )
    PARTS[review_session.project_part(list(PARTS))](store, project, person)


def _conflicts(store: ReviewStore, project: Project, person: Person) -> None:
    with st.sidebar:
        guidelines(project)
    review_desk(project, person, "adjudicate", key="adjudication_desk")


def _gold(store: ReviewStore, project: Project, person: Person) -> None:
    with st.sidebar:
        guidelines(project)
    project_progress.gold(store, project, person)
    review_desk(project, person, "gold", key="gold_desk")


PARTS: Mapping[str, Callable[[ReviewStore, Project, Person], None]] = {
    "Progress": project_progress.show,
    "Agreement": project_agreement.show,
    "Conflicts": _conflicts,
    "Gold": _gold,
    "Settings": project_settings.edit,
    "Files": project_files.show,
}
