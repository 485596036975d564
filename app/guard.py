"""What may reach the app at all: from where, from which page, from whom. Every request passes here first."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from analysis.people import People
from app.json_answer import JsonAnswer
from app.oidc import Oidc
from models.errors import UserError

PERSON = "vla_lens.person"  # where the scope keeps who logged in
LOOPBACK_NAMES = ("localhost", "testserver")  # the second is what Starlette's test client calls its server
# What a browser needs before anybody can have logged in: Streamlit's own page and its socket, on which the script asks
# for a login before it draws anything, and the player's code. Everything that is not named here needs a login.
PUBLIC: tuple[str, ...] = (
    "/",
    "/index.html",
    "/manifest.json",
    "/favicon.png",
    "/favicon.ico",
    "/auth/login",
    "/auth/logout",
)
PUBLIC += ("/oauth2callback", "/_stcore/health", "/_stcore/host-config", "/_stcore/stream")
PUBLIC_FOLDERS = ("/static/", "/lens/player/", "/lens/review-files/")


@dataclass(frozen=True)
class Refusal:
    status: int
    reason: str


class Guard:
    """ASGI middleware. ``oidc`` None: nobody logs in, and then only this machine is served."""

    def __init__(self, app: ASGIApp, oidc: Oidc | None, people: People) -> None:
        self._app = app
        self._oidc = oidc
        self._people = people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason[:120]})
        else:
            answer = JsonAnswer({"error": refusal.reason}, refusal.status, headers={"Cache-Control": "no-store"})
            await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers, public = Headers(scope=scope), is_public(scope["path"])
        if self._oidc is None and not came_by_loopback(scope):
            return Refusal(403, "without a login this app serves only its own machine (docs/people.md)")
        if (origin := headers.get("origin")) and urlsplit(origin).netloc != headers.get("host"):
            return Refusal(403, "the request comes from a page of another site")
        if not public and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Refusal(403, "the request comes from a page of another site")
        return self._unknown_person(scope, public) if self._oidc else None

    def _unknown_person(self, scope: Scope, public: bool) -> Refusal | None:
        """Notes who sent the request; a refusal where it has to be somebody and is nobody."""
        claims = self._oidc.claims(HTTPConnection(scope).cookies) if self._oidc else None
        if claims is None:
            return None if public else Refusal(401, "log in first")
        try:
            scope[PERSON] = self._people.logged_in(claims)
        except UserError as error:
            return None if public else Refusal(403, str(error))
        return None


def is_public(path: str) -> bool:
    """Whether a path is served to who has not logged in."""
    return path in PUBLIC or path.startswith(PUBLIC_FOLDERS)


def came_by_loopback(scope: Scope) -> bool:
    """Whether the address at which the connection arrived is one of this machine's own."""
    server = scope.get("server")
    return server is not None and (server[1] is None or is_loopback(server[0]))  # a Unix socket has no port


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine talking to itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES
