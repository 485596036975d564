"""An HTTP server on loopback that speaks the chat protocol of OpenAI, and misbehaves as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = {
    "observation": "The table holds a cup.",
    "situation": "The task is to move the cup; the gripper is open and empty.",
    "spatial": "The cup is to the left of the gripper.",
    "planning": "reach the cup, grasp it, lift it",
}


@dataclass
class Reply:
    """One response. ``slow``: seconds before it; ``raw``: the whole body in place of a chat answer."""

    content: str | None = json.dumps(GOOD)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    slow: float = 0.0
    raw: bytes | None = None
    error: str = ""
    refusal: str | None = None
    finish: str = "stop"
    usage: dict[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    )
    close: bool = False  # hang up without a word

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.error, "type": "error"}}).encode()
        message = {"role": "assistant", "content": self.content, "refusal": self.refusal}
        return json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 0, "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
                "usage": self.usage,
            }
        ).encode()  # fmt: skip


@dataclass
class Endpoint:
    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of the questions, in order
    headers: list[dict[str, str]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)  # for the next questions; then good ones
    otherwise: Callable[[dict[str, Any]], Reply] = field(default=lambda asked: Reply())
    models: Reply = field(default_factory=lambda: Reply(raw=b'{"object": "list", "data": []}'))


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(state.models)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.asked.append(body)
                state.headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = state.replies.pop(0) if state.replies else state.otherwise(body)
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            time.sleep(reply.slow)
            if reply.close:
                self.close_connection = True
                return
            data = reply.body()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who asked has gone: too slow

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
