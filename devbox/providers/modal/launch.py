"""Asking Modal for one sandbox.

The client's own `Sandbox.create` waits until Modal has found a machine, and ends the sandbox when
that wait is interrupted; this returns as soon as Modal has accepted, so that `up --no-wait` can.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from devbox import names
from devbox.errors import ProviderError
from devbox.model import Price
from devbox.providers.base import Request
from devbox.providers.modal import entrypoint, record
from devbox.providers.modal.account import Account
from devbox.providers.modal.errors import Unsupported
from devbox.providers.modal.sizes import Size
from devbox.text import clean, duration

if TYPE_CHECKING:
    from modal_proto import api_pb2

LONGEST = 24 * 3600  # seconds; Modal ends a sandbox then
PORT = 22
#: seconds past start_timeout until a start is too late; above what a clock may be wrong by
LATE = 15 * 60.0


class Plan(NamedTuple):
    """What a sandbox is made of. image: the id of what it starts from. latest: unix seconds after
    which a start is too late, as nobody waits for it any more."""

    image: str
    size: Size
    price: Price
    token: str
    latest: float


def launch(account: Account, request: Request, plan: Plan) -> str:
    """Ask for a sandbox; its id as soon as Modal has accepted. errors.Exists when one of that name
    runs. Both timeouts are armed with it."""
    parts = _Parts(
        app=str(account.app(create=True).app_id),
        secret=_secret(account, request),
        volumes=[_volume(account, each.source) for each in request.spec.volumes.values()],
        tags=record.new_tags(
            request.name, plan.token, public_line(request.host_key), plan.size, plan.price
        ),
    )
    doing = f"starting a sandbox for {request.name}"
    wanted = _Extras()
    while True:
        wire = functools.partial(_message, request, plan, parts, wanted)
        try:
            return str(account.rpc(doing, "SandboxCreate", wire).sandbox_id)
        except Unsupported as error:
            if (less := wanted.without(error.parts)) == wanted:
                raise
            wanted = less


class _Extras(NamedTuple):
    """What a box can do without, should Modal refuse it. keep: have it save the files when a
    sandbox ends by itself (an experiment of Modal's). slack: let idle_timeout be longer than
    timeout."""

    keep: bool = True
    slack: bool = True

    def without(self, parts: frozenset[str]) -> _Extras:
        return _Extras(self.keep and "snapshot" not in parts, self.slack and "idle" not in parts)


class _Parts(NamedTuple):
    """Ids of what the sandbox refers to."""

    app: str
    secret: str
    volumes: list[str]
    tags: dict[str, str]


def _message(
    request: Request, plan: Plan, parts: _Parts, extras: _Extras, api: ModuleType
) -> api_pb2.SandboxCreateRequest:
    """idle_timeout is the whole life and an hour: Modal's clock of idleness sees connections and
    commands, not a job that computes alone, and it runs from the creation, while the sandbox may
    still wait for capacity. Anything shorter could end a busy box.
    """
    size, life = plan.size, lifetime(request.spec.max_uptime)
    cores = round(size.cores * 1000)
    resources = api.Resources(milli_cpu=cores, milli_cpu_max=cores, memory_mb=size.mib)
    if size.gpu:
        resources.gpu_config.gpu_type = size.gpu
        resources.gpu_config.count = size.gpus
    mounts = [
        api.VolumeMount(
            volume_id=volume,
            mount_path=_mount(each.mount),
            read_only=each.read_only,
            allow_background_commits=True,
        )
        for volume, each in zip(parts.volumes, request.spec.volumes.values(), strict=True)
    ]
    definition = api.Sandbox(
        name=request.name,
        image_id=plan.image,
        entrypoint_args=entrypoint.command(request, plan.latest),
        secret_ids=[parts.secret],
        volume_mounts=mounts,
        resources=resources,
        timeout_secs=life,
        idle_timeout_secs=min(life + 3600, LONGEST) if extras.slack else life,
        open_ports=api.PortSpecs(
            ports=[
                api.PortSpec(port=PORT, unencrypted=True),
                *(api.PortSpec(port=port) for port in request.spec.expose),
            ]
        ),
        experimental_options_v2={"enable_exit_snapshot": "True"} if extras.keep else {},
    )
    if request.spec.region:
        definition.scheduler_placement.regions.append(request.spec.region)
    made: api_pb2.SandboxCreateRequest = api.SandboxCreateRequest(
        app_id=parts.app, definition=definition, tags=record.to_tags(api, parts.tags)
    )
    return made


def lifetime(max_uptime: float) -> int:
    """Whole seconds that a sandbox gets."""
    return min(max(1, math.ceil(max_uptime)), LONGEST)


def public_line(private: str) -> str:
    """The 'type base64' line of an OpenSSH private key."""
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private.encode(), password=None)
    except ValueError as error:
        raise ProviderError(f"the box's host key cannot be read: {error}") from error
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*openssh).decode()


def _secret(account: Account, request: Request) -> str:
    """Environment, secrets and keys as a secret that belongs to this sandbox's app alone."""
    import modal

    client = account.client()
    given = modal.Secret.from_dict(dict(entrypoint.environment(request)))
    made = account.do("storing the secrets", lambda: given.hydrate.aio(client=client))
    return str(made.object_id)


def _volume(account: Account, name: str) -> str:
    """The id of a volume; one that is not there yet is made."""
    import modal

    volume = modal.Volume.from_name(
        name,
        environment_name=account.environment or None,
        create_if_missing=True,
        client=account.client(),
    )
    found = account.do(f"opening the volume {clean(name, 60)}", volume.hydrate.aio)
    return str(found.object_id)


def _mount(path: str) -> str:
    """Relative to the login folder, as everywhere in a spec."""
    inside = names.remote_path(path, "mount")
    return inside if inside.startswith("/") else f"/root/{inside}"


def warnings(request: Request) -> Iterator[str]:
    """What a user should know before it costs, a line each."""
    if request.spec.max_uptime > LONGEST:
        yield (
            f"max_uptime is {duration(request.spec.max_uptime)}, but Modal ends a sandbox after "
            f"24 h; to continue past that, with the same files: devbox renew {request.name}"
        )
    yield (
        "if Modal has a machine for it only after "
        f"{duration(request.spec.start_timeout + LATE)}, it ends itself at once"
    )
    yield (
        "`devbox pause` keeps its files; when it ends by itself (idle, or at its time limit) they "
        "are kept only if Modal's own exit snapshot works: put what matters on a volume, or in "
        "sync down or save_command"
    )
