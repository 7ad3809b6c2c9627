"""The dashboard in a browser of this machine, through textual-serve.

It can end boxes and spend money, so it answers only on loopback, and its websocket opens only for
who has the link and only for our own page: requests from another host name (DNS rebinding) or
another page (cross-site websockets) are refused. The link's secret is no cookie, because a browser
sends cookies of 127.0.0.1 to every port of it: the page keeps it in its session storage, which no
other port can read.
"""

from __future__ import annotations

import hmac
import secrets
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from aiohttp import web
from aiohttp.typedefs import Middleware
from textual_serve.server import Server

from devbox.errors import Conflict

_HOST = "127.0.0.1"
_SOCKET = "/ws/"  # then the secret: the only path that needs it
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
        words = [sys.executable, "-P", "-m", "devbox.cli.main", "ui"]
        super().__init__(
            shlex.join([*words, "--readonly"] if readonly else words),
            host=_HOST,
            port=port,
            title="devbox",
            templates_path=Path(__file__).parent / "page",
        )
        self._secret = secret
        self._own = f"{_HOST}:{port}"
        # the part after the # is never sent
        self.link = f"http://{self._own}/#{secret}"

    async def make(self) -> web.Application:
        app: web.Application = await self._make_app()
        app.middlewares.append(self._guard())
        app.router.add_get(f"{_SOCKET}{{key}}", self.handle_websocket)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """No banner: the link is on stdout already."""

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            origin = request.headers.get("Origin")
            if request.host != self._own or origin not in (None, f"http://{self._own}"):
                raise web.HTTPForbidden(text="This dashboard answers to its own address only.\n")
            if request.path == "/" or request.path.startswith("/static/"):
                return await handler(request)
            key = request.path.removeprefix(_SOCKET)
            if origin is None or not self._is_secret(key):
                raise web.HTTPForbidden(text="Open the link that devbox ui --web printed.\n")
            return await handler(request)

        return guard

    def _is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._secret.encode())
