"""A bundled service to a provider that runs it only while it is asked."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from devbox import names, secrets
from devbox.box.services import hosted
from devbox.errors import ProviderError, SpecError, UsageError
from devbox.model import Price
from devbox.providers.abilities import CanHost, Hosted, HostRequest
from devbox.spec import BoxSpec, Checkpoint, JobSpec
from devbox.workspace import Workspace


class Asked(NamedTuple):
    """box: whose hardware, volumes, region, env and secrets it gets, "" for the only one of that
    provider. hardware: in place of that box's. app: its name there, "" for PROJECT-SERVICE. idle:
    seconds that a container waits for a further request. most: containers at a time. concurrent:
    requests that each takes at a time. public: without credentials of the provider."""

    box: str = ""
    hardware: str = ""
    app: str = ""
    idle: int = 60
    most: int = 1
    concurrent: int = 8
    public: bool = False


def deploy(ws: Workspace, provider: str, request: HostRequest) -> Hosted:
    """Make it, or replace it."""
    place = ws.provider(provider)
    if not isinstance(place, CanHost):
        raise ProviderError(f"{provider} does not run services without a box")
    ws.narrate(f"deploying {request.app} on {request.hardware}")
    return place.host(request)


def only(ws: Workspace, services: Mapping[str, JobSpec]) -> str:
    """The name of the only service whose checkpoints devbox.toml has. UsageError lists them."""
    fit = [
        name
        for name, each in services.items()
        if each.module and each.checkpoints and all(map(ws.spec.checkpoint, each.checkpoints))
    ]
    if len(fit) == 1:
        return fit[0]
    raise UsageError(
        f"which service? {', '.join(fit or services)}",
        fix=f"devbox deploy --modal --service {next(iter(fit or services), 'NAME')}",
    )


def plan(
    ws: Workspace, provider: str, service: JobSpec, args: Mapping[str, object], asked: Asked
) -> HostRequest:
    """What would be asked of the provider. Sends nothing. UsageError, SpecError, NotTrusted."""
    place = ws.provider(provider)
    if not service.module:
        raise UsageError(
            f"{service.name} is a command, and only services with a module can be hosted",
            fix=f"run it on a box: devbox serve {service.name}",
        )
    wanted = _box(ws, place.name, asked.box)
    hardware = asked.hardware or wanted.first_hardware
    if not hardware:
        raise UsageError("no hardware is named", fix="devbox deploy --modal --gpu L4, or --gpu cpu")
    found = {name: _checkpoint(ws, service, name) for name in service.checkpoints}
    tokens = {name: secrets.resolve(each.secret) for name, each in found.items() if each.secret}
    resolved = {name: secrets.resolve(reference) for name, reference in wanted.secrets.items()}
    about = {
        "module": service.module,
        "args": dict(args),
        "checkpoints": {name: _origin(each) for name, each in found.items()},
    }
    return HostRequest(
        app=names.name(asked.app or f"{ws.spec.project}-{service.name}", "app name"),
        image=service.image,
        packages=service.packages,
        module=hosted.__name__,
        env={**wanted.env, hosted.VARIABLE: json.dumps(about)},
        secrets={**resolved, **({hosted.SECRETS: json.dumps(tokens)} if tokens else {})},
        wanted=wanted if wanted.image == service.image else _without_build(wanted),
        hardware=place.hardware_name(hardware),
        folder=_folder(found) if found else "/checkpoints",
        concurrent=asked.concurrent,
        most=asked.most,
        idle=asked.idle,
        public=asked.public,
    )


def price(ws: Workspace, provider: str, request: HostRequest) -> Price | None:
    """What one container costs while it runs, as a box of that size; None when it is not known."""
    offers = ws.provider(provider).offers_for(request.wanted)
    return next((each.price for each in offers if each.hardware.name == request.hardware), None)


def _box(ws: Workspace, provider: str, name: str) -> BoxSpec:
    """The named box's spec; else the only one's on that provider; else an empty one."""
    if name:
        found = ws.spec.box(name)[1]
        if found.provider != provider:
            raise UsageError(f"the box {name} is not on {provider}", fix="name one that is")
        return found
    there = [key for key, box in ws.spec.boxes.items() if box.provider == provider]
    if len(there) > 1:
        raise UsageError(
            f"several boxes are on {provider}: {', '.join(there)}",
            fix=f"devbox deploy {there[0]} --modal",
        )
    return ws.spec.box(there[0])[1] if there else BoxSpec(provider=provider)


def _without_build(wanted: BoxSpec) -> BoxSpec:
    """Its build arguments are of another image."""
    return msgspec.structs.replace(wanted, build_args={})


def _checkpoint(ws: Workspace, service: JobSpec, name: str) -> Checkpoint:
    found = ws.spec.checkpoint(name)
    if found is None:
        raise SpecError(
            f"{service.name} needs the checkpoint {name}, which devbox.toml does not have",
            fix=f"add a [checkpoints.{name}] table with source and path",
        )
    if not posixpath.isabs(found.path):
        raise SpecError(
            f"[checkpoints.{name}] path is relative, and there is no box whose home it is in",
            fix=f'path = "/checkpoints/{posixpath.basename(found.path)}"',
        )
    return found


def _origin(found: Checkpoint) -> dict[str, object]:
    return {
        "path": found.path,
        "source": found.origin,
        "sha256": found.sha256.lower(),
        "bytes": found.bytes,
        "size": None if found.size is None else int(found.size),
    }


def _folder(found: Mapping[str, Checkpoint]) -> str:
    """The folder that all of them are in."""
    folder = posixpath.commonpath([posixpath.dirname(each.path) for each in found.values()])
    if folder == "/":
        listed = ", ".join(each.path for each in found.values())
        raise SpecError(
            f"the checkpoints have no folder in common, which a volume could keep: {listed}",
            fix='give each a path such as "/checkpoints/NAME"',
        )
    return folder
