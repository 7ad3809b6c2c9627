"""An engine behind ssh, reached as the docker command line does: each connection is
`ssh TARGET docker system dial-stdio`, by the user's own ssh, which never asks a question."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from devbox import names
from devbox.errors import AuthError, SpecError, Unavailable, UsageError
from devbox.model import Endpoint
from devbox.providers.host import user_ssh
from devbox.remote.proxy import ProxySocket
from devbox.text import clean

if TYPE_CHECKING:
    from docker import APIClient

_DIAL = "docker system dial-stdio"
_CONNECTIONS = 8  # kept for the next call


class Far:
    """The machine of an `ssh://user@host:port` address. SpecError when it is not one."""

    def __init__(self, address: str) -> None:
        self._target = _target(address)
        self._last: ProxySocket | None = None

    @property
    def via(self) -> str:
        """The ProxyCommand to a port on that machine's own loopback."""
        words = shlex.join(user_ssh.command("ServerAliveInterval=30"))
        return f"{words} -W '[%h]:%p' -- {shlex.quote(self._target)}"

    def dial(self) -> ProxySocket:
        """A socket to the engine."""
        command = shlex.join([*user_ssh.command(), "--", self._target, _DIAL])
        self._last = ProxySocket(Endpoint("engine", via=command.replace("%", "%%")))
        return self._last

    def failure(self) -> AuthError | Unavailable | None:
        """Why the last connection failed, in ssh's words; None when it said nothing."""
        last = self._last
        if last is None:
            return None
        last.close()
        return user_ssh.failure(self._target, last.said) if last.said else None


def client(far: Far, timeout: float) -> APIClient:
    """A client whose connections go through ssh. timeout: seconds."""
    import docker
    import urllib3
    from docker.transport.basehttpadapter import BaseHTTPAdapter

    class Connection(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            self.sock = far.dial()
            self.sock.settimeout(timeout)

    class Pool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = Connection

    class Adapter(BaseHTTPAdapter):  # type: ignore[misc]  # why: the package has no types
        def __init__(self) -> None:
            self._pool = Pool("localhost", timeout=timeout, maxsize=_CONNECTIONS)
            super().__init__()

        def get_connection(self, url: str, proxies: object = None) -> Pool:
            return self._pool

        def close(self) -> None:
            self._pool.close()
            super().close()

    # Told a version, the client makes no call before it has our adapter.
    versions = docker.constants
    made = docker.APIClient("tcp://localhost:1", versions.MINIMUM_DOCKER_API_VERSION, timeout)
    made.mount("http://", Adapter())
    theirs = made.version(api_version=False)["ApiVersion"]
    both = (theirs, versions.DEFAULT_DOCKER_API_VERSION)
    made._version = min(both, key=lambda text: tuple(map(int, text.split("."))))
    return made


def _target(address: str) -> str:
    """As ssh takes it, in one word."""
    try:
        parts = urlsplit(address)
        if parts.path.strip("/") or parts.query or parts.password:
            raise ValueError("more than a host")
        host, port = names.host(parts.hostname or ""), parts.port
        user = f"{names.user(parts.username)}@" if parts.username else ""
    except (UsageError, ValueError):
        raise SpecError(
            f"{clean(address, 80)!r} is not the address of an engine behind ssh",
            fix='write docker_host = "ssh://user@host", or "ssh://user@host:port"',
        ) from None
    named = f"[{host}]" if ":" in host else host
    return f"ssh://{user}{named}{f':{port}' if port else ''}"
