"""A service's public URL at its provider, and the token that it asks for."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from devbox import paths
from devbox import secrets as references
from devbox.errors import Conflict, SpecError
from devbox.files import private_dir, write_atomic
from devbox.model import Box, Run
from devbox.providers.abilities import HasPublicPorts
from devbox.services import catalogue
from devbox.spec import ServiceSpec, Spec, decode_box
from devbox.wire.jobs import JobRequest
from devbox.workspace import Workspace


def check(ws: Workspace, box: Box, service: ServiceSpec) -> None:
    """Conflict where the box cannot give the service a public URL; nothing is started then."""
    if not isinstance(ws.provider_of(box), HasPublicPorts):
        raise Conflict(
            f"{box.provider} has no public URL for a port of {box.name}",
            means=f"service {service.name} was not started; without expose it is forwarded here",
            fix="set expose = false in its table, or serve it on a modal or hf-job box",
        )
    if service.port not in decode_box(box.spec).expose:
        raise Conflict(
            f"{box.name} was made without port {service.port} being public",
            means=f"service {service.name} was not started",
            fix=f"add expose = [{service.port}] to the box's table, and make the box again: "
            f"devbox down {box.name} && devbox up {box.name}",
        )


class Public(NamedTuple):
    """token_from: the file, or the reference of the user's, that holds the token."""

    url: str
    token_from: str


def where(ws: Workspace, box: Box, service: ServiceSpec, run: Run) -> Public:
    """Where everybody reaches it. Conflict when the provider does not say (yet)."""
    provider = ws.provider_of(box)
    assert isinstance(provider, HasPublicPorts)  # `check` came before
    found = provider.public_url(box.handle, service.port)
    if found is None:
        raise Conflict(
            f"{box.provider} does not say where port {service.port} of {box.name} is public",
            fix=f"in a moment: devbox serve {service.name}",
        )
    return Public(found, service.token or str(_file(run.id)))


def token(project: Spec, request: JobRequest) -> str:
    """The token of a run: what the service's `token` refers to, else one that is made for it."""
    reference = catalogue.find(project, request.job).token
    if not reference:
        return _made(request.id)
    found = references.resolve(reference)
    if len(found) < 16 or not found.isascii() or not found.isprintable():
        raise SpecError(
            f"the token of service {request.job} is no token: 16 printable characters at least",
            fix="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return found


def _made(run_id: str) -> str:
    file = _file(run_id)
    if not file.exists():
        write_atomic(file, secrets.token_urlsafe(32), mode=0o600)
    return file.read_text().strip()


def _file(run_id: str) -> Path:
    return private_dir(paths.home() / "tokens") / run_id
