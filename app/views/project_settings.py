"""Making a review project, and changing one; every change is a version of its own."""

from __future__ import annotations

import streamlit as st

from analysis.people import Person
from analysis.review import Collision, Project, ProjectSettings, ReviewStore, Selection
from analysis.review.gather import Gathered, gather, make_project
from app import library, review_session
from app.plain_text import plain
from app.project_forms import selection_fields, settings_fields
from app.views.review import known_names
from models.errors import UserError


def new(person: Person, first: bool) -> None:
    """The form of a new project: look what the selection finds, then make it."""
    st.markdown("#### New project")
    if first:
        st.write("There is no review project yet. A project says which rationales are judged, how, and by how many.")
    workspace, store = library.current().workspace, library.current().reviews()
    st.markdown("##### Which rationales")
    selection = selection_fields(workspace)
    if st.button("See what that finds", key="see_selection"):
        _found(_gathered(selection))
    st.markdown("##### How they are judged")
    with st.form("new_project", border=False):
        settings = settings_fields(ProjectSettings(""), known_names(store, store.projects()), "new")
        made = st.form_submit_button("Make the project", type="primary")
    if not first:
        st.button("Leave it", on_click=review_session.leave_project_form, key="leave_project")
    if made:
        try:
            settings.checked()
            project = make_project(store, settings, selection, _gathered(selection), person.name)
        except UserError as error:
            st.error(plain(str(error)))
            return
        review_session.open_project(project.id)
        st.rerun()


def _gathered(selection: Selection) -> Gathered:
    opened = library.current()
    with st.spinner("Reading the rationales…"):
        return gather(opened.workspace, selection, opened.reviews())


def _found(found: Gathered) -> None:
    taken = len(found.sources)
    drawn = f", of which {taken:,} are drawn" if taken < found.found else ""
    st.success(f"{found.found:,} rationales{drawn}, in {len({one.episode for one in found.sources}):,} episodes")
    authors: dict[str, int] = {}
    for one in found.sources:
        authors[one.rationale.author] = authors.get(one.rationale.author, 0) + 1
    if authors:
        rows = [{"author": author or "(unknown)", "rationales": count} for author, count in authors.items()]
        st.dataframe(rows, hide_index=True, key="found_authors")
    if found.skipped:
        with st.expander(f"{len(found.skipped)} episodes cannot be read"):
            for broken in found.skipped:
                st.text(f"{broken.path}: {broken.reason}")


def edit(store: ReviewStore, project: Project, person: Person) -> None:
    """The form of a project that is there, its selection, and what it was before."""
    form = review_session.project_form(project)
    with st.form(f"edit_project_{form.key}", border=False):
        settings = settings_fields(project.settings, known_names(store, (project,)), form.key)
        changed = st.form_submit_button("Save the changes", type="primary")
    if changed:
        _change(store, project, settings, person)
    st.markdown("##### Which rationales")
    st.caption(f"{len(store.items(project.id)):,} items. New rationales that fit the selection can be added.")
    st.json(_told(project.selection), expanded=False)
    if st.button("Add what is new", key="add_new"):
        try:
            added = store.add_items(project.id, _gathered(project.selection).sources, person.name)
            st.success(f"{added:,} rationales were added")
        except UserError as error:
            st.error(plain(str(error)))
    with st.expander("Versions"):
        rows = [
            {"version": one.version, "by": one.author, "time": one.time, "overlap": one.settings.overlap,
             "blind": one.settings.blind, "order": one.settings.order, "closed": one.settings.closed}
            for one in reversed(store.project_history(project.id))
        ]  # fmt: skip
        st.dataframe(rows, hide_index=True, key="versions")


def _change(store: ReviewStore, project: Project, settings: ProjectSettings, person: Person) -> None:
    if settings == project.settings:
        st.info("Nothing was changed.")
        return
    try:
        store.edit_project(project.id, settings, review_session.project_form(project).version, person.name)
    except Collision as error:
        review_session.accept_version(project)
        st.error(f"{plain(str(error))} Your changes are still in the form; saving again puts them on top.")
        return
    except UserError as error:
        st.error(plain(str(error)))
        return
    review_session.leave_form(project)
    st.rerun()


def _told(selection: Selection) -> dict[str, object]:
    return {name: value for name, value in vars(selection).items() if value not in ((), None)}
