"""The queue: rationales to judge, one after the other."""

from __future__ import annotations

import streamlit as st

from analysis.people import Person
from analysis.review import Project, ReviewStore
from app import entrance, library, oidc, review_session
from app.components.review_component import review_desk
from app.plain_text import plain
from models.errors import UserError


def show() -> None:
    """Asks who judges and what, then leaves the page to the desk."""
    try:
        store = library.current().reviews()
        projects = store.projects()
    except UserError as error:
        library.current().forget_reviews()
        st.error(plain(str(error)))
        st.button("Try again", key="try_again")
        return
    person = entrance.person(library.current().workspace, lambda: known_names(store, projects))
    if person is None:
        return
    mine = [one for one in projects if may_judge(one, person)]
    if not mine:
        _nothing(person, projects)
        return
    with st.sidebar:
        project = review_session.choose_project(mine)
        guidelines(project)
    review_desk(project, person, "review", key="review_desk", remember=None if oidc.settings() else entrance.COOKIE)


def known_names(store: ReviewStore, projects: tuple[Project, ...]) -> list[str]:
    """Names that stand in projects or under reviews."""
    names = {name for one in projects for name in (one.created_by, *one.settings.annotators)}
    names |= {one.annotator for project in projects for one in store.progress(project.id).annotators}
    return sorted(names, key=str.casefold)


def may_judge(project: Project, person: Person) -> bool:
    """Whether the project hands out items to this person."""
    named = project.settings.annotators
    return not project.settings.closed and (not named or person.name in named)


def guidelines(project: Project) -> None:
    """The project's guidelines, at hand while judging. Markdown without HTML."""
    if project.settings.guidelines.strip():
        with st.expander("Guidelines", expanded=True):
            st.markdown(project.settings.guidelines)


def _nothing(person: Person, projects: tuple[Project, ...]) -> None:
    st.subheader("Nothing to review")
    if projects:
        st.write(f"No open project is for {plain(person.name)}. A lead can add the name to one.")
    elif person.role.leads:
        st.write("There is no review project yet. Make one on the page Projects: choose which rationales it holds.")
    else:
        st.write("There is no review project yet. A lead makes one.")
