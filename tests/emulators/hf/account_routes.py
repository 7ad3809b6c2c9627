"""Routes about who asks."""

from __future__ import annotations

from aiohttp import web

from tests.emulators.hf.http import Context, Route


async def whoami(call: Context) -> web.StreamResponse:
    assert call.token is not None
    return web.json_response(call.hub.account.whoami(call.token))


async def zero_gpu_quota(call: Context) -> web.StreamResponse:
    base = 1500 if call.hub.account.pro else 210
    return web.json_response({"base": base, "current": base - 90, "overquotaUsed": 0})


ROUTES = (
    Route("GET", "/api/whoami-v2", "whoami", whoami),
    Route("GET", "/api/spaces/zero-gpu/quota", "zero_gpu_quota", zero_gpu_quota),
)
