"""Between the wire and a route: hooks, faults, authentication, errors, the record of calls."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulators.common import Fault, FaultKind
from tests.emulators.hf.account import Token
from tests.emulators.hf.limits import rate_headers

if TYPE_CHECKING:
    from tests.emulators.hf.hub import Hub


class HubError(Exception):
    """An error answer, in the Hub's shape: JSON ``error`` and ``X-Error-*`` headers."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = body

    def response(self) -> web.Response:
        headers = {"X-Error-Message": self.message, **self.headers}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        return web.json_response(
            {"error": self.message, **self.body}, status=self.status, headers=headers
        )


class Intercepted(HubError):
    """What a proxy or a sign-in page of a network answers in the Hub's place: its ``message`` as
    JSON, or without one an HTML page."""

    def response(self) -> web.Response:
        if self.message:
            return web.Response(text=self.message, content_type="application/json")
        return web.Response(text=_PAGE, content_type="text/html")


@dataclass
class Context:
    """What a handler gets: the hub, the request, who asks, and a fault left to act out."""

    hub: Hub
    request: web.Request
    token: Token | None
    fault: Fault | None

    def path(self, name: str) -> str:
        """A part of the request's path."""
        return self.request.match_info[name]

    @property
    def repo_id(self) -> str:
        return f"{self.path('namespace')}/{self.path('name')}"

    async def json(self) -> dict[str, Any]:
        """The request's JSON object."""
        try:
            body = json.loads(await self.request.read() or b"{}")
        except ValueError as error:
            raise HubError(400, "Invalid JSON") from error
        if not isinstance(body, dict):
            raise HubError(400, "Expected a JSON object")
        return body

    def check_read(self, repo_id: str) -> None:
        """Refuse tokens that do not see ``repo_id``, as those of other accounts a private one."""
        kinds = ("space", "model", "dataset")
        private = any(r.private for kind in kinds if (r := self.hub.repos.get((kind, repo_id))))
        hidden = private and not self.hub.account.owns(repo_id.partition("/")[0])
        if hidden or self.token is None or not self.token.may_read(repo_id):
            raise HubError(404, "Repository not found", "RepoNotFound")

    def check_write(self, repo_id: str) -> None:
        """Refuse tokens that may not change ``repo_id``, and other people's namespaces."""
        self.check_read(repo_id)
        namespace = repo_id.split("/", maxsplit=1)[0]
        assert self.token is not None
        if not self.token.may_write(repo_id) or not self.hub.account.owns(namespace):
            raise HubError(403, "You don't have the required permissions for this action")


_PAGE = "<!doctype html><title>Sign in</title><p>Please sign in to this network.</p>"
Handler = Callable[[Context], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One route; ``name`` is what knobs and the call record know it by."""

    method: str
    path: str
    name: str
    handler: Handler
    public: bool = False


def guarded(hub: Hub, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The route as aiohttp calls it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if await _has_arrived(request):
            response, outcome = await _answer(hub, route, request)
        else:
            response, outcome = web.Response(), "gone"
        hub.calls.record(route.name, hub.clock.now(), outcome)
        return response

    return answer


async def _answer(hub: Hub, route: Route, request: web.Request) -> tuple[web.StreamResponse, str]:
    if not hub.calls.tell(route.name, "before"):
        return _cut(request), "dropped"
    fault = hub.knobs.take_transport(route.name)
    kind = fault.kind if fault else None
    if fault is not None and kind is FaultKind.LATENCY:
        await asyncio.sleep(fault.seconds)
    if fault is not None and kind is FaultKind.LATE:
        await hub.clock.sleep(fault.seconds)
    if kind is FaultKind.RESET:
        return _cut(request), "reset"
    try:
        if fault is not None and kind in (FaultKind.STATUS, FaultKind.HTML, FaultKind.BODY):
            raise _as_error(fault)
        if hub.rate_limit is not None and not hub.rate_limit.spend():
            raise HubError(429, "Too many requests")
        token = None if route.public else _authenticate(hub, request)
        response = await route.handler(Context(hub, request, token, fault))
    except HubError as error:
        response = error.response()
    except ConnectionError:
        return web.Response(), "gone"
    except Exception as error:
        hub.calls.record_unexpected(f"{request.method} {request.path_qs}: {error!r}")
        raise
    if not response.prepared:
        response.headers["X-Request-Id"] = uuid.uuid4().hex
        if hub.rate_limit is not None:
            response.headers.update(hub.rate_limit.headers())
    hub.calls.tell(route.name, "after")
    if kind is FaultKind.REPLY_LOST:
        _cut(request)
        return response, "lost"
    return _halved(response) if kind is FaultKind.CUT_BODY else response, str(response.status)


async def _has_arrived(request: web.Request) -> bool:
    """A call arrives with its body: whoever is killed from here on has asked."""
    try:
        if request.content_type == "application/json":
            await request.read()
    except ConnectionError:
        return False
    return True


def _halved(response: web.StreamResponse) -> web.Response:
    whole = response.body if isinstance(response, web.Response) else b""
    half = whole[: len(whole) // 2] if isinstance(whole, bytes) else b""
    return web.Response(body=half, status=response.status, content_type="application/json")


def _as_error(fault: Fault) -> HubError:
    if fault.kind in (FaultKind.HTML, FaultKind.BODY):
        return Intercepted(200, fault.message)
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        seconds = math.ceil(fault.retry_after)
        headers = {"Retry-After": str(seconds), **rate_headers(0, seconds, 500, 300)}
    return HubError(fault.status, fault.message, headers=headers)


def _authenticate(hub: Hub, request: web.Request) -> Token:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        raise HubError(401, "Invalid username or password.")
    token = hub.account.token(value)
    if token is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return token


def _cut(request: web.Request) -> web.Response:
    """Reset the connection (RST, not an orderly close); the returned response goes nowhere."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def unexpected(hub: Hub, request: web.Request) -> web.Response:
    """501 for whatever the emulator does not know, and a note for the test to find."""
    what = f"{request.method} {request.path_qs}"
    hub.calls.record_unexpected(what)
    hub.calls.record("unexpected", hub.clock.now(), "501")
    return HubError(501, f"The Hub emulator does not implement {what}").response()
