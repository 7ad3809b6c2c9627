"""Serves an app until it is asked to end, and counts its requests for the idle policy.

On SIGTERM no connection is taken any more, requests in flight are finished, then it ends. The count
of requests and how many are in flight are in a small file that the sampler reads; the health path
is not counted, since whoever looks whether it is well does not use it.
"""

from __future__ import annotations

import hmac
import importlib
import json
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from devbox.box import json_file
from devbox.box.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PACKAGES = ("starlette>=0.37", "uvicorn>=0.30")
_WRITE_EVERY = 1.0
_BUSY = 503  # said so often, when it is, that it would drown the rest of the log


def listen(port: int, *, public: bool = False) -> socket.socket:
    """A socket bound to that port of the loopback, or to any other where it is taken or 0. public:
    to that port of every address, and no other. OSError."""
    for wanted in (port,) if public else (port, 0):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0" if public else "127.0.0.1", wanted))  # noqa: S104
            return sock
        except OSError:
            sock.close()
            if public or not wanted:
                raise
    raise AssertionError("not reached")


def run(
    module: str,
    service: Service,
    sock: socket.socket,
    *,
    health: str,
    served: Path,
    drain: float,
    token: str = "",
) -> None:
    """Until SIGTERM, or `service.fail`. drain: seconds for requests in flight. token: asked
    for with each request. What `create_app` raises comes through."""
    import uvicorn

    # A refused request is not counted as use, so that strangers cannot keep a box up.
    app = Counted(importlib.import_module(module).create_app(service), health, served)
    config = uvicorn.Config(
        Guarded(app, token, health) if token else app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, int(drain)),
    )
    server = uvicorn.Server(config)
    if service.failed:
        return

    def end(*_: object) -> None:
        server.should_exit = True

    service.on_fail(end)
    # uvicorn raises its signal again once it has ended: that is no death of ours.
    signal.signal(signal.SIGTERM, end)
    server.run(sockets=[sock])


class Counted:
    """The app, with its requests counted into the file `served`; a failed one is a line of the
    log, but for those that were told to come back later."""

    def __init__(self, app: ASGIApp, health: str, served: Path) -> None:
        self._app, self._health, self._served = app, health, served
        self._count = self._in_flight = 0
        self._changed = threading.Event()
        self._changed.set()  # the sampler knows from the start that nothing was asked yet
        threading.Thread(target=self._write, daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") == self._health:
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._count += 1
        self._in_flight += 1
        self._changed.set()
        try:
            await self._app(scope, receive, sent)
        finally:
            self._in_flight -= 1
            self._changed.set()
            if status >= 400 and status != _BUSY:
                took = f"{1000 * (time.monotonic() - begun):.0f} ms"
                print(scope.get("method", ""), scope["path"], status, took, flush=True)

    def _write(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            with suppress(OSError):  # a full disk: the next change writes again
                state = {"count": self._count, "in_flight": self._in_flight}
                json_file.write(self._served, state)
            time.sleep(_WRITE_EVERY)


class Guarded:
    """The app of a public service, which lets a request in only with `Authorization: Bearer TOKEN`.
    One without it is answered 401; a WebSocket is closed. The health path is open, since whoever
    looks whether it is well has no token."""

    def __init__(self, app: ASGIApp, token: str, open_path: str) -> None:
        if not token:
            raise ValueError("a public service needs a token")
        self._app, self._open = app, open_path
        self._wanted = b"Bearer " + token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan" or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = json.dumps({"error": "the token is missing or wrong"}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"www-authenticate", b"Bearer"),
            ]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _may_pass(self, scope: Scope) -> bool:
        if scope["type"] == "http" and scope["path"] == self._open:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        # Each is compared, in a time that does not tell how much of it is right.
        return len(given) == 1 and hmac.compare_digest(given[0], self._wanted)
