"""One Docker engine: found the way its own command line finds it, its client opened once, every
call's faults as devbox errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from devbox.errors import ProviderError, SpecError, Unavailable
from devbox.providers.docker.errors import translated
from devbox.providers.docker.tunnel import Far, client
from devbox.spec import DockerSettings, Spec
from devbox.text import clean

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")
CALL = 60.0  # seconds that an engine may be silent
_DEFAULT = "unix:///var/run/docker.sock"
_BY_NAME = "context://"
_SCHEMES = ("unix://", "tcp://", "http://", "https://", "npipe://", "ssh://")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def resolve(config: DockerSettings) -> DockerSettings:
    """The settings with the engine that the docker command line would use when they name none: an
    address, or `context://NAME` for a context, which also holds its TLS files."""
    host = config.docker_host or os.environ.get("DOCKER_HOST", "")
    if not host:
        with translated("looking for the Docker engine", ""):
            name = _context()
        host = _DEFAULT if name == "default" else f"{_BY_NAME}{name}"
    return msgspec.structs.replace(config, docker_host=host)


def of(project: Spec) -> Engine:
    """The engine that a project's docker boxes are on."""
    settings = project.provider("docker")
    assert isinstance(settings, DockerSettings)
    return Engine(settings.docker_host)


class Engine:
    """docker_host: from [providers.docker]; empty for DOCKER_HOST, DOCKER_CONTEXT or the current
    context of `docker context`; `context://NAME` for that context. Safe from several threads."""

    def __init__(self, docker_host: str = "") -> None:
        self._asked = docker_host
        self._lock = threading.Lock()
        self._client: APIClient | None = None

    def call(self, doing: str, action: Callable[[APIClient], T]) -> T:
        """Run something of the low-level client."""
        try:
            with translated(doing, self.address):
                return action(self._open())
        except Unavailable as error:
            why = self._far.failure() if self._far else None
            if why is None:
                raise
            raise why from error

    @property
    def address(self) -> str:
        """Where it is, as the user or the docker command line names it."""
        return str(self._settings.get("base_url", _DEFAULT)).removeprefix("http+")

    def identity(self) -> str:
        """The engine's own id and its data folder: engines before 23.0 take their id from a key of
        the machine, which two of them share."""
        said = self.call("asking the engine who it is", lambda api: api.info())
        return clean(f"{said.get('ID') or ''} {said.get('DockerRootDir') or ''}".strip(), 200)

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""
        return self.address.startswith("unix:")

    def way(self) -> str:
        """How to reach a port on the loopback of the engine's machine: a ProxyCommand, or '' when
        that is this machine. SpecError for an engine elsewhere without ssh."""
        if self._far is not None:
            return self._far.via
        host = urlsplit(self.address).hostname or ""
        if self.is_local or host in _LOOPBACK:
            return ""
        raise SpecError(
            f"boxes of the engine at {clean(self.address, 80)} cannot be reached: their ssh ports "
            "are open on its own loopback only",
            means="nothing was started",
            fix=f'reach it through ssh: [providers.docker] docker_host = "ssh://USER@{host}"',
        )

    @cached_property
    def _settings(self) -> dict[str, object]:
        """For the client's constructor: address and TLS."""
        host = self._asked or os.environ.get("DOCKER_HOST", "")
        with translated("looking for the Docker engine", host):
            import docker
            from docker.utils import kwargs_from_env

            named = host.startswith(_BY_NAME) or not host
            found: dict[str, object] = (
                docker.ContextAPI.kwargs_from_context(_context(host.removeprefix(_BY_NAME)))
                if named
                else kwargs_from_env({**os.environ, "DOCKER_HOST": host})
            )
        address = str(found.get("base_url", _DEFAULT)).removeprefix("http+")
        if not address.startswith(_SCHEMES):
            raise ProviderError(
                f"{clean(address, 80)!r} is not the address of a Docker engine",
                fix="write unix:///path, ssh://user@host or tcp://host:port",
            )
        return found

    @cached_property
    def _far(self) -> Far | None:
        return Far(self.address) if self.address.startswith("ssh://") else None

    def _open(self) -> APIClient:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> APIClient:
        import docker

        if self._far is not None:
            return client(self._far, CALL)
        return docker.APIClient(**self._settings, timeout=CALL)


def _context(asked: str = "") -> str:
    """The name of that context, else of the one in force. ProviderError when it is not there: the
    client would go to this machine's engine instead, and without a config file it looks in the
    present folder."""
    from docker import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.utils.config import find_config_file

    name = asked or str(os.environ.get("DOCKER_CONTEXT") or get_current_context_name())
    if name == "default" or (find_config_file() and ContextAPI.get_context(name) is not None):
        return name
    raise ProviderError(
        f"there is no docker context {clean(name, 60)!r}",
        means="nothing was started",
        fix="see: docker context ls; or name the engine: [providers.docker] docker_host",
    )
