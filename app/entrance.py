"""Who is looking: somebody who logged in, or, on one's own machine, a name that is asked for when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import unquote

import streamlit as st

from analysis.people import Person
from analysis.workspace import Workspace
from app import oidc, review_session
from app.guard import is_loopback
from app.plain_text import plain
from models.errors import UserError

COOKIE = "vla_lens_name"  # written by the review page, so that a browser knows its person again


def admitted(workspace: Workspace) -> bool:
    """Whether pages may be drawn for this visitor; otherwise draws what is missing."""
    oidc.look_for_secrets(workspace.path)
    login = oidc.settings()
    if login is None:
        return _own_machine()
    if not st.user.get("is_logged_in"):
        _ask_to_log_in(login)
        return False
    try:
        someone = workspace.people.logged_in(dict(st.user))
    except UserError as error:
        st.error(str(error))
        st.button("Log out", on_click=st.logout)
        return False
    with st.sidebar:
        st.caption(f"{plain(someone.name)} · {someone.role}")
        st.button("Log out", on_click=st.logout, type="tertiary", key="log_out")
    return True


def person(workspace: Workspace, known: Callable[[], Sequence[str]]) -> Person | None:
    """Who logged in or which name was given; None where it is still being asked. ``known``: names offered first."""
    if oidc.settings() is not None:
        return workspace.people.logged_in(dict(st.user))
    given = _given()
    if not given:
        _ask_name(known())
        return None
    try:
        someone = workspace.people.named(given)
    except UserError as error:
        st.error(str(error))
        _ask_name(known())
        return None
    with st.sidebar:
        st.caption(f"Judging as {plain(someone.name)} · {someone.role}")
        st.button("Someone else", on_click=review_session.forget_name, type="tertiary", key="someone_else")
    return someone


def may_lead(workspace: Workspace) -> bool:
    """Whether pages for leads are offered: to leads, and to who has not said a name yet."""
    try:
        if oidc.settings() is not None:
            return workspace.people.logged_in(dict(st.user)).role.leads
        given = _given()
        return not given or workspace.people.named(given).role.leads
    except UserError:
        return False


def _given() -> str:
    remembered = st.context.cookies.get(COOKIE)
    return review_session.given_name(unquote(remembered) if isinstance(remembered, str) else "")


def _own_machine() -> bool:
    """Whether the visitor is this machine. `streamlit run` passes no guard and may have been told to let others in."""
    visitor = st.context.ip_address  # no text: loopback
    if not isinstance(visitor, str) or is_loopback(visitor):
        return True
    st.error("Without a login this app serves only its own machine: start it with `python -m app` (docs/people.md).")
    return False


def _ask_to_log_in(login: oidc.Oidc) -> None:
    st.subheader("VLA Lens")
    st.write("Log in to see this team's robot episodes, checkpoints and reviews.")
    if login.providers == (oidc.DEFAULT,):
        st.button("Log in", on_click=st.login, type="primary", key="log_in")
        return
    for provider in login.providers:
        st.button(f"Log in with {provider}", on_click=st.login, args=(provider,), key=f"log_in_{provider}")


def _ask_name(known: Sequence[str]) -> None:
    st.subheader("Who are you?")
    st.write(
        "Judgements are kept under this name. This browser remembers it; there is no password on your own machine."
    )
    with st.form("name", width=420):
        st.selectbox(
            "Name", known, index=None, key="typed_name", accept_new_options=True, placeholder="Choose or type a name"
        )
        st.form_submit_button("Go on", on_click=review_session.take_name, type="primary")
