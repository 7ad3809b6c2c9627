"""Machines in which nothing runs, for a simulation that plays what happens in sandboxes itself.

As in the Hub's emulator: a sandbox lives until its main process is left, until a timeout or until
it is ended. A snapshot is a layer without files, so that images still tell which sandbox they are
of. Commands succeed at once, and nothing answers behind a tunnel.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence

import psutil

from tests.emulators.modal.machine import Bind, Machine
from tests.emulators.modal.output import Output
from tests.emulators.modal.process import OnData, Process
from tests.emulators.modal.store import Store

_NOBODY = 111  # ECONNREFUSED


class HollowProcess(Process):
    """Nothing but its exit."""

    def __init__(self) -> None:
        self.stdout, self.stderr = Output(), Output()
        self.written = 0
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def stdin_closed(self) -> bool:
        return self.exited.done()

    async def write(self, data: bytes, offset: int | None = None) -> None:
        """Nobody reads it."""
        self.written = (self.written if offset is None else offset) + len(data)

    def close_stdin(self) -> None:
        """Nobody reads it."""

    def kill(self) -> None:
        self.leave(-9)

    def close(self) -> None:
        self.kill()

    def leave(self, code: int) -> None:
        """It ends with that code."""
        if not self.exited.done():
            self.stdout.end()
            self.stderr.end()
            self.exited.set_result(code)


class HollowMachine(Machine):
    """stays: whether its first process lives until it is left."""

    def __init__(
        self,
        store: Store,
        layers: Sequence[str],
        hostname: str,
        binds: Sequence[Bind] = (),
        *,
        stays: bool = True,
    ) -> None:
        super().__init__(store, layers, hostname, binds)
        self._stays = stays
        self.snapshots: list[str] = []
        """Its layers, one for each snapshot."""

    async def start(self) -> None:
        """Nothing has to boot."""

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: str = "/",
        on_stdout: OnData | None = None,
        on_stderr: OnData | None = None,
    ) -> Process:
        process = HollowProcess()
        if not self._stays or self._processes:
            process.leave(0)
        self._processes.append(process)
        return process

    async def connect(self, port: int) -> socket.socket:
        raise OSError(_NOBODY, f"nothing listens on port {port}: nothing runs here")

    async def listen(self, port: int) -> socket.socket:
        raise OSError(_NOBODY, f"nobody would ask on port {port}: nothing runs here")

    def processes(self) -> list[psutil.Process]:
        return []

    async def snapshot(self) -> str:
        self.snapshots.append(self._store.new_layer())
        return self.snapshots[-1]

    async def stop(self) -> None:
        for process in self._processes:
            process.close()
        self._store.drop(self._place)


def machine(
    store: Store,
    layers: Sequence[str],
    hostname: str,
    binds: Sequence[Bind] = (),
    *,
    stays: bool = True,
) -> Machine:
    """A machine of the store's kind. stays: of a hollow one."""
    if store.hollow:
        return HollowMachine(store, layers, hostname, binds, stays=stays)
    return Machine(store, layers, hostname, binds)
