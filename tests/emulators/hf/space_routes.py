"""Routes of Spaces: listing, runtime, hardware, pause, Dev Mode, settings, logs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.emulators.common import FaultKind
from tests.emulators.hf.http import Context, HubError, Route
from tests.emulators.hf.logs import stamp, stream_log
from tests.emulators.hf.space import FREE, Setting, Space

SPACE = "/api/spaces/{namespace}/{name}"


async def list_spaces(call: Context) -> web.StreamResponse:
    query = call.request.query
    lag = call.hub.knobs.take("list_spaces", FaultKind.LIST_LAG)
    newest = call.hub.clock.now() - (lag.seconds if lag else 0.0)
    found = []
    for space in call.hub.spaces.values():
        if lag is not None and space.repo.created > newest:
            continue
        if query.get("author", space.id.split("/")[0]) != space.id.split("/")[0]:
            continue
        if query.get("search", "").lower() not in space.id.lower():
            continue
        if not call.token or not call.token.may_read(space.id):
            continue
        described = call.hub.describe(
            space.repo, full="full" in query, expand=query.getall("expand", [])
        )
        tags = call.hub.describe(space.repo)["tags"]
        if all(tag in tags for tag in query.getall("filter", [])):
            found.append(described)
    return call.hub.page(call.request, found)


async def list_hardware(call: Context) -> web.StreamResponse:
    return web.json_response([flavor.row() for flavor in call.hub.flavors["spaces"].values()])


async def runtime(call: Context) -> web.StreamResponse:
    return web.json_response(_space(call).runtime())


async def request_hardware(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    body = await call.json()
    call.hub.check_flavor(body.get("flavor"))
    if "sleepTimeSeconds" in body:
        space.sleep_seconds = body["sleepTimeSeconds"]
    space.request_hardware(body["flavor"])
    return web.json_response(space.runtime())


async def set_sleep_time(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    seconds = (await call.json()).get("seconds")
    if not isinstance(seconds, int):
        raise HubError(400, "seconds must be an integer")
    if (space.current or space.requested) != FREE:
        space.sleep_seconds = seconds
        space.rearm_sleep()
    return web.json_response(space.runtime())


async def pause(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    if call.hub.knobs.take("pause", FaultKind.STOP_IGNORED) is None:
        space.pause()
    return web.json_response(space.runtime())


async def restart(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    call.hub.check_flavor(space.requested)
    space.restart(factory=call.request.query.get("factory") == "true")
    return web.json_response(space.runtime())


async def dev_mode(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    enabled = bool((await call.json()).get("enabled"))
    if enabled and not call.hub.account.pro:
        raise HubError(403, "Dev Mode requires a PRO subscription or a Team & Enterprise plan")
    space.set_dev_mode(enabled)
    return web.json_response(space.runtime())


async def get_secrets(call: Context) -> web.StreamResponse:
    return web.json_response(_shown(_space(call).secrets, values=False))


async def get_variables(call: Context) -> web.StreamResponse:
    return web.json_response(_shown(_space(call).variables, values=True))


async def add_secret(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    await _add(call, space, space.secrets, space.variables)
    return web.json_response(_shown(space.secrets, values=False))


async def add_variable(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    await _add(call, space, space.variables, space.secrets)
    return web.json_response(_shown(space.variables, values=True))


async def delete_secret(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    await _delete(call, space, space.secrets)
    return web.json_response(_shown(space.secrets, values=False))


async def delete_variable(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    await _delete(call, space, space.variables)
    return web.json_response(_shown(space.variables, values=True))


async def set_volumes(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    volumes = (await call.json()).get("volumes", [])
    for volume in volumes:
        if not str(volume.get("mountPath", "")).startswith("/"):
            raise HubError(400, "mountPath must start with /")
    space.volumes = volumes
    space.settings_changed()
    return web.json_response({"volumes": volumes})


async def delete_volumes(call: Context) -> web.StreamResponse:
    space = _space(call, write=True)
    if not space.volumes:
        raise HubError(400, "The Space has no volumes attached")
    space.volumes = []
    space.settings_changed()
    return web.json_response({"volumes": []})


async def logs(call: Context) -> web.StreamResponse:
    space = _space(call)
    log = space.build_log if call.path("which") == "build" else space.run_log
    return await stream_log(call.request, log, call.hub.clock, call.fault)


async def visit(call: Context) -> web.StreamResponse:
    """The app's own address: wakes it and counts as a visitor."""
    space = call.hub.space_by_subdomain(call.path("subdomain"))
    if space is None:
        raise HubError(404, "Sorry, we can't find the page you are looking for.")
    if not space.visit():
        raise HubError(503, f"Your Space is {space.stage}")
    return web.Response(text="emulated app")


def _space(call: Context, *, write: bool = False) -> Space:
    space = call.hub.spaces.get(call.repo_id)
    if space is None:
        raise HubError(404, "Repository not found", "RepoNotFound")
    if write:
        call.check_write(space.id)
    else:
        call.check_read(space.id)
    if space.sdk == "static":
        raise HubError(400, "Static Spaces have no runtime")
    return space


async def _add(
    call: Context, space: Space, mine: dict[str, Setting], other: dict[str, Setting]
) -> None:
    body = await call.json()
    if body["key"] in other:
        raise HubError(400, f"{body['key']} already exists as the other kind of setting")
    now = call.hub.clock.now()
    mine[body["key"]] = Setting(body["value"], body.get("description"), now)
    space.settings_changed()


async def _delete(call: Context, space: Space, settings: dict[str, Setting]) -> None:
    key = (await call.json())["key"]
    if settings.pop(key, None) is None:
        raise HubError(404, f"{key} does not exist")
    space.settings_changed()


def _shown(settings: dict[str, Setting], *, values: bool) -> dict[str, Any]:
    return {
        key: {
            "key": key,
            "description": setting.description,
            "updatedAt": stamp(setting.updated),
            **({"value": setting.value} if values else {}),
        }
        for key, setting in settings.items()
    }


ROUTES = (
    Route("GET", "/api/spaces", "list_spaces", list_spaces),
    Route("GET", "/api/spaces/hardware", "space_hardware", list_hardware, public=True),
    Route("GET", f"{SPACE}/runtime", "space_runtime", runtime),
    Route("POST", f"{SPACE}/hardware", "request_hardware", request_hardware),
    Route("POST", f"{SPACE}/sleeptime", "set_sleep_time", set_sleep_time),
    Route("POST", f"{SPACE}/pause", "pause", pause),
    Route("POST", f"{SPACE}/restart", "restart", restart),
    Route("POST", f"{SPACE}/dev-mode", "dev_mode", dev_mode),
    Route("GET", f"{SPACE}/secrets", "get_secrets", get_secrets),
    Route("POST", f"{SPACE}/secrets", "add_secret", add_secret),
    Route("DELETE", f"{SPACE}/secrets", "delete_secret", delete_secret),
    Route("GET", f"{SPACE}/variables", "get_variables", get_variables),
    Route("POST", f"{SPACE}/variables", "add_variable", add_variable),
    Route("DELETE", f"{SPACE}/variables", "delete_variable", delete_variable),
    Route("PUT", f"{SPACE}/volumes", "set_volumes", set_volumes),
    Route("DELETE", f"{SPACE}/volumes", "delete_volumes", delete_volumes),
    Route("GET", f"{SPACE}/logs/{{which:run|build}}", "space_logs", logs),
    Route("GET", "/_app/{subdomain}", "visit", visit, public=True),
    Route("GET", "/_app/{subdomain}/{rest:.*}", "visit", visit, public=True),
)
