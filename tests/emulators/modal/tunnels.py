"""TCP relays between a sandbox's loopback and the host's."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tests.emulators.modal.machine import Machine

CHUNK = 64 * 1024
Activity = Callable[[], AbstractContextManager[None]]


class Relay(ABC):
    """Accepts connections and carries each to where :meth:`_connect` leads.

    It accepts before anything listens there, and then hangs up.
    """

    def __init__(self, activity: Activity = nullcontext) -> None:
        self._activity = activity
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    @abstractmethod
    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Where this connection leads."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with self._activity():
                await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            return  # nobody listens there, or one side is gone: hanging up is the answer
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._connect()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, far_writer))
                both.create_task(pump(far_reader, writer))
        except* OSError:
            pass  # one side was cut, so the other is
        finally:
            far_writer.transport.abort()


class Tunnel(Relay):
    """A port of this host's loopback that leads to ``container_port`` of the machine.

    ``activity`` is held for as long as a connection is open.
    """

    def __init__(
        self, machine: Machine, container_port: int, unencrypted: bool, activity: Activity
    ) -> None:
        super().__init__(activity)
        self._machine = machine
        self.container_port = container_port
        self.unencrypted = unencrypted
        self.port = 0

    async def open(self) -> None:
        """Begin to listen; sets ``port``."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        inside = await self._machine.connect(self.container_port)
        return await asyncio.open_connection(sock=inside)


class Opening(Relay):
    """A port of the machine's loopback that leads to the same port of this host's."""

    def __init__(self, machine: Machine, port: int) -> None:
        super().__init__()
        self._machine = machine
        self._port = port

    async def open(self) -> None:
        """Begin to listen inside."""
        listener = await self._machine.listen(self._port)
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction and pass its end on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
