"""Routes about who asks."""

from __future__ import annotations

from aiohttp import web

from tests.emulators.hf.http import Context, Route


async def whoami(call: Context) -> web.StreamResponse:
    assert call.token is not None
    return web.json_response(call.hub.account.whoami(call.token))


ROUTES = (Route("GET", "/api/whoami-v2", "whoami", whoami),)
