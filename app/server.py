"""The ASGI application: Streamlit's pages and, beside them, the routes that the player reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from analysis.workspace import Workspace
from app import library, oidc
from app.early_links import EarlyLinks
from app.guard import Guard, is_loopback
from app.index_updates import updates_of
from app.review_routes import review_routes
from app.routes import lens_routes
from models.errors import UserError

MAIN = Path(__file__).resolve().parent / "main.py"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "testserver")


def create_app() -> st.App:
    """The application of the current workspace. Raises UserError where it or its login cannot be used.

    It answers under loopback's names and those of its login only, so that no web site can have a browser read from it
    under a name of its own (DNS rebinding).
    """
    workspace = library.current().workspace
    updates_of(library.current()).look()
    login = _login(workspace)
    hosts = [*LOOPBACK, *([login.host] if login else []), *workspace.people.hosts]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(Guard, oidc=login, people=workspace.people),
        Middleware(EarlyLinks),
    ]
    routes = [*lens_routes(library.current), *review_routes(library.current)]
    return st.App(MAIN, routes=routes, middleware=guards, lifespan=until_the_end)


@asynccontextmanager
async def until_the_end(app: object) -> AsyncIterator[None]:
    """What is to be closed when the server ends."""
    yield
    await run_in_threadpool(library.current().close)


def check_address(host: str) -> None:
    """Raises UserError where listening at ``host`` would let people in who did not log in."""
    if not is_loopback(host) and _login(library.current().workspace) is None:
        raise UserError(
            f"listening at {host} would let anybody in: configure a login in .streamlit/secrets.toml first "
            "(docs/people.md), or leave --address out to serve this machine only"
        )


def _login(workspace: Workspace) -> oidc.Oidc | None:
    """How people log in. Streamlit must know its script before anything asks for a setting, or it never reads the
    settings beside that script."""
    st.App(MAIN)
    oidc.look_for_secrets(workspace.path)
    return oidc.settings()
