"""The SSH server of a box: who may in, what runs, when it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Collection
from contextlib import suppress

import asyncssh

from devbox.providers.local import box_dir as on_disk
from devbox.providers.local.box_dir import BoxDir, Start
from devbox.providers.local.child import Children
from devbox.providers.local.forward import Forwards
from devbox.providers.local.session import Session
from devbox.providers.local.traffic import Traffic

POLL = 0.5  # seconds between looks at the stop file and the clocks
HEARTBEAT = 5.0
_FLUSH = 0.3  # seconds that sessions get to deliver their last words

# One fast cipher: a client that is offered others picks a slower one by its own order.
_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
_EXCHANGES = ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]


def serve(folder: BoxDir, start: Start, listener: socket.socket, began: tuple[float, float]) -> str:
    """Serve until told to stop or the ceiling is reached; returns why.

    start: see server.main. began: wall and monotonic clock when this life began.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    return asyncio.run(Server(folder, start, began).run(listener))


class Server:
    """One life of a box's SSH server."""

    def __init__(self, folder: BoxDir, start: Start, began: tuple[float, float]) -> None:
        self.folder = folder
        self.environment = _environment(folder, start["env"])
        settings = folder.settings()
        self.name = settings.name if settings else ""
        self.keys = {asyncssh.import_public_key(line).public_data for line in start["keys"]}
        self.children = Children()
        self.traffic = Traffic(folder.box_root / "ssh.json")
        self.sessions: set[Session] = set()
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._wall, self._clock = (each + start["uptime"] for each in began)
        self._stopped = asyncio.Event()

    def admitted(self) -> set[bytes]:
        """Keys that the provider let in since the start."""
        try:
            lines = self.folder.admitted.read_text().splitlines()
        except OSError:
            return set()
        return {asyncssh.import_public_key(line).public_data for line in lines}

    async def run(self, listener: socket.socket) -> str:
        """Serve on an already listening socket; returns why it ended."""
        loop = asyncio.get_running_loop()
        self.children.attach(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        # Handled, not ignored: what is ignored here would be ignored in every session.
        loop.add_signal_handler(signal.SIGHUP, _nothing)
        acceptor = await asyncssh.listen(
            sock=listener,
            server_factory=lambda: Door(self),
            server_host_keys=[str(self.folder.host_key)],
            server_version="devbox",
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            login_timeout=60,
            encryption_algs=_CIPHERS,
            kex_algs=_EXCHANGES,
            compression_algs=["none"],
        )
        reason = await self._until_stopped()
        acceptor.close()
        await self._part(reason)
        return reason

    async def _until_stopped(self) -> str:
        beat = 0.0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._stopped.wait()
            if reason := self._why():
                return reason
            self.traffic.write()
            if time.monotonic() >= beat:
                self.folder.beat()
                beat = time.monotonic() + HEARTBEAT

    def _why(self) -> str | None:
        """Why to stop now, told to the guard through the stop file."""
        if not self.folder.path.is_dir():
            return "its folder is gone"
        if reason := self.folder.stop_reason():
            return reason
        if time.time() >= self._wall or time.monotonic() >= self._clock:
            reason = "max_uptime reached"
        elif self._stopped.is_set():
            reason = "its server was told to end"
        else:
            return None
        on_disk.replace(self.folder.stop, reason)
        return reason

    async def _part(self, reason: str) -> None:
        """Last words on every terminal, then hang up everywhere."""
        self.traffic.write()
        for session in list(self.sessions):
            session.part(f"devbox: {self.name} stops now ({reason}); its files are kept")
        # Clients drop what they have not shown yet when they are disconnected at once.
        await _while(self.sessions, _FLUSH)
        for connection in list(self.connections):
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, f"the box stops: {reason}")
        await _while(self.connections, _FLUSH)


class Door(Forwards, asyncssh.SSHServer):
    """One client: any user name, the box's keys only."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.traffic = server.traffic

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self.connection)

    def begin_auth(self, username: str) -> bool | Awaitable[bool]:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data in self._server.keys or key.public_data in self._server.admitted()

    def session_requested(self) -> Session:
        return Session(self._server)


async def _while(some: Collection[object], seconds: float) -> None:
    """Until it is empty, at most that long."""
    until = time.monotonic() + seconds
    while some and time.monotonic() < until:
        await asyncio.sleep(0.005)


def _nothing() -> None:
    """The server has no terminal to lose."""


def _environment(folder: BoxDir, extra: dict[str, str]) -> dict[str, str]:
    """Of every session: this machine's PATH and the like, the spec's, and ours on top."""
    machine = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    ours = {
        "HOME": str(folder.home),
        "SHELL": shell,
        "DEVBOX_BOX_ROOT": str(folder.box_root),
        on_disk.MARK: folder.mark,
    }
    every = {"LANG": "C.UTF-8", **machine, **extra, **ours}
    # Read by ~/.profile, after the system's profile has reset PATH.
    return {**every, "DEVBOX_LOCAL_PATH": every.get("PATH", os.defpath)}
