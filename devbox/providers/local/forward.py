"""Forwards through a box: -L, -D and unix sockets to anywhere, -R on loopback only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
from asyncssh.forward import SSHForwarder

from devbox.providers.local.traffic import Traffic

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANYWHERE = ("", "*", "0.0.0.0", "::")  # noqa: S104  why: what a client may ask for, not bound


class Forwards:
    """The part of the server's door that answers requests to forward."""

    connection: asyncssh.SSHServerConnection
    traffic: Traffic

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Awaitable[Any]:
        loop = asyncio.get_running_loop()
        return self._open(
            lambda: loop.create_connection(SSHForwarder, dest_host or "localhost", dest_port)
        )

    def unix_connection_requested(self, dest_path: str) -> Awaitable[Any]:
        loop = asyncio.get_running_loop()
        return self._open(lambda: loop.create_unix_connection(SSHForwarder, dest_path))

    def server_requested(
        self, listen_host: str, listen_port: int
    ) -> Awaitable[asyncssh.SSHListener] | bool:
        """Like sshd without GatewayPorts: whoever asks for every address gets loopback."""
        if listen_host not in _LOOPBACK + _ANYWHERE:
            return False
        bind = "localhost" if listen_host in _ANYWHERE else listen_host
        return self.connection.forward_local_port(bind, listen_port, listen_host, listen_port)

    def unix_server_requested(self, listen_path: str) -> bool:
        return True

    async def _open(
        self, connect: Callable[[], Awaitable[tuple[object, SSHForwarder]]]
    ) -> SSHForwarder:
        try:
            _, peer = await connect()
        except OSError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return _Counted(peer, self.traffic)


class _Counted(SSHForwarder):
    """The channel's side of one forwarded connection."""

    def __init__(self, peer: SSHForwarder, traffic: Traffic) -> None:
        super().__init__(peer)
        self._traffic = traffic

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        self._traffic.received += len(data)
        super().data_received(data, datatype)

    def write(self, data: bytes) -> None:
        self._traffic.sent += len(data)
        super().write(data)
