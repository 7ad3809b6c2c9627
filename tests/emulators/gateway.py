"""An SSH gateway that takes any user name, like ``ssh.hf.space`` and ``ssh.hf.jobs``.

The user name picks the box, the account's public keys let in, one host key
stands for every box. Commands, terminals, sftp, scp, rsync and forwards reach
real processes in the box's directory. asyncssh serves; what it leaves out
(see :mod:`tests.emulators.sessions`) is done by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import asyncssh

from tests.emulators.common import Box
from tests.emulators.sessions import BoxSftp, serve_process


@dataclass(frozen=True)
class Login:
    """Where a user name leads: a running box and its environment beyond the login one."""

    box: Box
    environment: Mapping[str, str] = field(default_factory=dict)
    alive: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Refused:
    """No box behind the name right now; ``reason`` is what the gateway says."""

    reason: str


Lookup = Callable[[str], Login | Refused]
AcceptedKeys = Callable[[str], Iterable[str] | None]


class Gateway:
    """One SSH server for all boxes. Start and close it on the emulator's loop.

    ``lookup(user)`` finds the box at each login. ``accepted_keys(user)`` gives
    OpenSSH public key lines, or ``None`` to let any key in.
    """

    def __init__(
        self,
        lookup: Lookup,
        accepted_keys: AcceptedKeys,
        host_key: asyncssh.SSHKey | None = None,
    ) -> None:
        self.lookup = lookup
        self.accepted_keys = accepted_keys
        self.host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        self.refusals: list[tuple[str, str]] = []
        self._open: dict[str, set[asyncssh.SSHServerConnection]] = {}
        self._server: asyncssh.SSHAcceptor | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; ``port=0`` takes a free one (see :attr:`port`)."""
        self._server = await asyncssh.listen(
            host,
            port,
            server_host_keys=[self.host_key],
            server_factory=lambda: _Connection(self),
            process_factory=self._serve_process,
            sftp_factory=self._serve_sftp,
            allow_scp=False,
            agent_forwarding=False,
            encoding=None,
            keepalive_interval=0,
            login_timeout=30,
            server_version="EmulatedGateway",
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the gateway is not started")
        return int(self._server.get_port())

    @property
    def host_key_line(self) -> str:
        """The host key as ``type base64``, the tail of a known_hosts line."""
        return " ".join(self.host_key.export_public_key().decode().split()[:2])

    def disconnect(self, user: str) -> None:
        """Cut every connection to one box, as its machine going away does."""
        for connection in list(self._open.get(user, ())):
            connection.abort()

    def connections(self, user: str) -> int:
        """How many connections one box has now."""
        return len(self._open.get(user, ()))

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        for user in list(self._open):
            self.disconnect(user)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def admits(self, user: str, key: asyncssh.SSHKey) -> bool:
        """Whether ``key`` is registered for ``user``."""
        accepted = self.accepted_keys(user)
        if accepted is None:
            return True
        return any(_public_data(line) == key.public_data for line in accepted)

    def enter(self, user: str, connection: asyncssh.SSHServerConnection) -> None:
        self._open.setdefault(user, set()).add(connection)

    def leave(self, user: str, connection: asyncssh.SSHServerConnection) -> None:
        self._open.get(user, set()).discard(connection)

    async def _serve_process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        login = self.lookup(process.get_extra_info("username"))
        if isinstance(login, Refused):
            process.stderr.write(f"{login.reason}\n".encode())
            process.exit(255)
            return
        await serve_process(process, login.box, login.environment, login.alive)

    def _serve_sftp(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        login = self.lookup(channel.get_extra_info("username"))
        if isinstance(login, Refused):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, login.reason)
        return BoxSftp(channel, login.box)


class _Connection(asyncssh.SSHServer):
    """One client: authentication and what it may forward."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._user = ""
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._gateway.leave(self._user, self._connection)

    def begin_auth(self, username: str) -> bool:
        found = self._gateway.lookup(username)
        if isinstance(found, Refused):
            self._gateway.refusals.append((username, found.reason))
            raise asyncssh.DisconnectError(asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT, found.reason)
        return True

    def auth_completed(self) -> None:
        if self._connection is not None:
            self._user = self._connection.get_extra_info("username")
            self._gateway.enter(self._user, self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if self._gateway.admits(username, key):
            return True
        self._gateway.refusals.append((username, "key not registered"))
        return False

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True

    def unix_server_requested(self, listen_path: str) -> bool:
        return True


def _public_data(line: str) -> bytes:
    return bytes(asyncssh.import_public_key(line).public_data)
