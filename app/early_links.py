"""Links put into Streamlit's start page, so that the browser fetches the player while Streamlit itself still boots.

Without them the player's modules are asked for only after Streamlit has loaded, connected and run the script.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.player_files import PLAYER

STATIC = Path(streamlit.__file__).parent / "static"
# Streamlit's own parts that the page needs; it asks for each only when the first element of its kind appears.
CHUNKS: tuple[str, ...] = ("BidiComponent", "serialization", "recordbatch", "_arrayReduce", "Selectbox", "ButtonGroup")
CHUNKS += ("WidgetLabel", "WidgetLabelHelpIcon", "useTextField", "useField", "useFilter", "useBasicWidgetState")


def early_links() -> bytes:
    """Preload tags for the player's modules and for the parts of Streamlit that the page needs first."""
    addresses = [f"{PLAYER.address}/{name}" for name in sorted(PLAYER.files)]
    scripts = STATIC / "static" / "js"
    addresses += [f"/static/js/{path.name}" for name in CHUNKS for path in sorted(scripts.glob(f"{name}.*.js"))]
    return "".join(f'<link rel="modulepreload" fetchpriority="low" href="{address}">' for address in addresses).encode()


class EarlyLinks:
    """ASGI middleware: adds the links to the head of the start page; every other answer passes untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._links = early_links()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            await self._app(scope, receive, _inserting(send, self._links))
        else:
            await self._app(scope, receive, send)


def _inserting(send: Send, links: bytes) -> Callable[[Message], Any]:
    start: list[Message] = []
    body = bytearray()

    async def insert(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.append(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        headers = dict(start[0]["headers"])
        if b"html" in headers.get(b"content-type", b"") and b"content-encoding" not in headers:
            body[:] = body.replace(b"</head>", links + b"</head>", 1)
            headers[b"content-length"] = str(len(body)).encode()
            headers.pop(b"etag", None)  # it named the page without the links
        await send({**start[0], "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": bytes(body)})

    return insert
