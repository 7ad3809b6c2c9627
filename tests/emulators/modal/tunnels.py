"""Ports of a sandbox that the outside can reach."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.emulators.modal.machine import Machine

CHUNK = 64 * 1024


class Tunnel:
    """A port of this host's loopback that leads to ``container_port`` of the machine.

    Like Modal's relay it accepts before anything listens inside, and then
    hangs up. ``activity`` is held for as long as a connection is open.
    """

    def __init__(
        self,
        machine: Machine,
        container_port: int,
        unencrypted: bool,
        activity: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._machine = machine
        self.container_port = container_port
        self.unencrypted = unencrypted
        self.port = 0
        self._activity = activity
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen; sets ``port``."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with self._activity():
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            return  # nobody listens inside, or one side is gone: hanging up is the answer
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside = await self._machine.connect(self.container_port)
        inside_reader, inside_writer = await asyncio.open_connection(sock=inside)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, inside_writer))
                both.create_task(pump(inside_reader, writer))
        except* OSError:
            pass  # one side was cut, so the other is
        finally:
            inside_writer.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction and pass its end on."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
