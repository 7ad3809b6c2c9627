"""The dashboard in a browser of this machine, through textual-serve.

It can end boxes and spend money, so it answers only on loopback and only to who has the link:
the secret in it becomes a cookie, and requests from another host name (DNS rebinding) or another
page (cross-site websockets) are refused.
"""

from __future__ import annotations

import hmac
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from aiohttp import web
from textual_serve.server import Server

from devbox.errors import Conflict

_HOST = "127.0.0.1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(*, readonly: bool, port: int) -> None:
    """Serve until Ctrl-C. Each browser tab is a dashboard of its own. Conflict when the port is
    in use."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise Conflict(
                f"port {port} of this machine is in use", fix="take another, or leave --port out"
            ) from error
        listener.listen()
        door = Door(listener.getsockname()[1], secrets.token_urlsafe(24), readonly=readonly)
        click.echo(door.link)
        click.echo("open that link in a browser of this machine; Ctrl-C ends it", err=True)
        web.run_app(door.make(), sock=listener, print=None)


class Door(Server):  # type: ignore[misc]
    """textual-serve's server behind a secret."""

    def __init__(self, port: int, secret: str, *, readonly: bool) -> None:
        words = [sys.executable, "-m", "devbox.cli.main", "ui"]
        super().__init__(
            shlex.join([*words, "--readonly"] if readonly else words),
            host=_HOST,
            port=port,
            title="devbox",
            templates_path=Path(__file__).parent / "page",
        )
        self._secret = secret
        self._cookie = f"devbox-{port}"
        self._own = {f"{_HOST}:{port}", f"localhost:{port}"}
        self.link = f"http://{_HOST}:{port}/?key={secret}"

    async def make(self) -> web.Application:
        app: web.Application = await self._make_app()
        app.middlewares.append(self._guard())
        return app

    async def on_startup(self, app: web.Application) -> None:
        """No banner: the link is on stdout already."""

    def _guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            origin = request.headers.get("Origin")
            if request.host not in self._own or (
                origin is not None and origin.removeprefix("http://") not in self._own
            ):
                raise web.HTTPForbidden(text="This dashboard answers to its own address only.\n")
            key = request.query.get("key")
            if request.path == "/" and key is not None and self._is_secret(key):
                # the secret leaves the address bar and its history
                answer = web.HTTPFound("/")
                answer.set_cookie(self._cookie, key, httponly=True, samesite="Strict")
                return answer
            if not self._is_secret(request.cookies.get(self._cookie, "")):
                raise web.HTTPForbidden(text="Open the link that devbox ui --web printed.\n")
            return await handler(request)

        return guard

    def _is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._secret.encode())
