"""Session state, links and caches of the review pages; everything else of that kind is in `app.session`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from app.session import address

if TYPE_CHECKING:  # names are asked for on pages that need no database
    from analysis.review import Gold, Project, Review
    from analysis.review.agreement import Agreement


def given_name(remembered: str) -> str:
    """The name under which this visitor judges: given in this session, in the link, or ``remembered``; "" for none."""
    if "person" not in st.session_state:
        st.session_state["person"] = st.query_params.get("person", "") or remembered
    name: str = st.session_state["person"]
    if name and st.query_params.get("person") != name:
        st.query_params["person"] = name
    return name


def take_name() -> None:
    """Judges go under the name that was typed."""
    st.session_state["person"] = st.session_state.get("typed_name") or ""


def forget_name() -> None:
    """Asks again who is there."""
    st.session_state["person"] = ""
    st.query_params.pop("person", None)


def choose_project(projects: Sequence[Project]) -> Project:
    """The review project that is chosen, the newest first; the link carries it."""
    by_id = {one.id: one for one in projects}
    wish = st.session_state.get("project", st.query_params.get("project"))
    st.session_state["project"] = wish if wish in by_id else next(iter(by_id))
    picked = st.selectbox("Project", list(by_id), key="project", format_func=lambda id: by_id[id].settings.name)
    st.query_params["project"] = picked
    return by_id[picked]


def making_project() -> bool:
    """Whether the form of a new review project is open."""
    return bool(st.session_state.get("making_project"))


def make_project() -> None:
    st.session_state["making_project"] = True


def leave_project_form() -> None:
    st.session_state["making_project"] = False


def open_project(id: str) -> None:
    """Shows this project from the next run of the script on."""
    st.session_state["making_project"] = False
    st.session_state.pop("project", None)
    st.query_params["project"] = id


def project_part(names: Sequence[str]) -> str:
    """Which part of a project is looked at; the link carries it."""
    by_address = {address(name): name for name in names}
    wish = by_address.get(st.query_params.get("part", ""), names[0])
    st.session_state["project_part"] = st.session_state.get("project_part") or wish
    picked = st.segmented_control("Part", names, key="project_part", label_visibility="collapsed", required=True)
    st.query_params["part"] = address(picked or names[0])
    return picked or names[0]


@st.cache_data(show_spinner="Comparing the judgements…", max_entries=20)
def _agreement(
    project: str, version: int, newest: tuple[tuple[str, ...], ...], _told: Callable[[], Agreement]
) -> Agreement:
    return _told()


def agreement(reviews: tuple[Review, ...], project: Project, gold: Mapping[str, Gold]) -> Agreement:
    """How far annotators agree; computed anew when a judgement, an answer or the project changes."""
    from analysis.review.agreement import agreement as compare

    key = tuple(one.id for one in reviews), tuple(f"{id} {one.version}" for id, one in gold.items())
    return _agreement(project.id, project.version, key, lambda: compare(reviews, project.settings.labels, gold))


@dataclass(frozen=True)
class ProjectForm:
    """The form in which a project is changed, as this visitor has it open."""

    key: str  # of its fields
    version: int  # on top of which the changes go; another lead's change since then is a collision


def project_form(project: Project) -> ProjectForm:
    """The open form, else a new one filled with what stands in the store."""
    fresh = ProjectForm(f"{project.id}_{project.version}", project.version)
    form: ProjectForm = st.session_state.setdefault(f"form_{project.id}", fresh)
    return form


def accept_version(project: Project) -> None:
    """The visitor knows of the newest version; what they changed stays in the form."""
    st.session_state[f"form_{project.id}"] = replace(project_form(project), version=project.version)


def leave_form(project: Project) -> None:
    """The next form is filled with what stands in the store."""
    st.session_state.pop(f"form_{project.id}", None)


def started_export(path: str | None = None) -> str:
    """Where the export that this visitor started last goes to, after it was told; "" for none."""
    if path is not None:
        st.session_state["review_export"] = path
    return str(st.session_state.get("review_export", ""))
