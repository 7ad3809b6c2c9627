"""One Docker engine: found the way its own command line finds it, its client opened once, every
call's faults as devbox errors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from devbox.errors import ProviderError, SpecError, Unavailable
from devbox.providers.docker.errors import translated
from devbox.providers.docker.tunnel import Far, client
from devbox.text import clean

T = TypeVar("T")
CALL = 60.0  # seconds that an engine may be silent
_DEFAULT = "unix:///var/run/docker.sock"
_SCHEMES = ("unix://", "tcp://", "http://", "https://", "npipe://", "ssh://")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Engine:
    """docker_host: from [providers.docker]; empty for DOCKER_HOST, DOCKER_CONTEXT or the current
    context of `docker context`. Safe from several threads."""

    def __init__(self, docker_host: str = "") -> None:
        self._asked = docker_host
        self._lock = threading.Lock()
        self._client: Any = None

    def call(self, doing: str, action: Callable[[Any], T]) -> T:
        """Run something of the low-level client (docker.APIClient)."""
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
        """Where it is, as the person or the docker command line names it."""
        return str(self._settings.get("base_url", _DEFAULT)).removeprefix("http+")

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
    def _settings(self) -> dict[str, Any]:
        """For the client's constructor: address and TLS."""
        host = self._asked or os.environ.get("DOCKER_HOST", "")
        with translated("looking for the Docker engine", host):
            import docker
            from docker.utils import kwargs_from_env

            found: dict[str, Any] = (
                kwargs_from_env({**os.environ, "DOCKER_HOST": host})
                if host
                else docker.ContextAPI.kwargs_from_context(_context())
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

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        import docker

        if self._far is not None:
            return client(self._far, CALL)
        return docker.APIClient(**self._settings, timeout=CALL)


def _context() -> str:
    """The name of the context in force. ProviderError when it is not there: the client would go
    to this machine's engine instead, and without a config file it looks in the present folder."""
    from docker import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.utils.config import find_config_file

    name = str(os.environ.get("DOCKER_CONTEXT") or get_current_context_name())
    if name == "default" or (find_config_file() and ContextAPI.get_context(name) is not None):
        return name
    raise ProviderError(
        f"there is no docker context {clean(name, 60)!r}",
        means="nothing was started",
        fix="see: docker context ls; or name the engine: [providers.docker] docker_host",
    )
