"""The ASGI application: Streamlit's pages and, beside them, the routes that the player reads."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app import library
from app.early_links import EarlyLinks
from app.routes import lens_routes

MAIN = Path(__file__).resolve().parent / "main.py"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "testserver")


def create_app(hosts: tuple[str, ...] = LOOPBACK) -> st.App:
    """The application. ``hosts``: names under which it answers; others are refused, so that no web site can have a
    browser read from it under a name of its own (DNS rebinding). ("*",) answers to any."""
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return st.App(MAIN, routes=lens_routes(library.current), middleware=[guard, Middleware(EarlyLinks)])
