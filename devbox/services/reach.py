"""A service's port on this computer, kept through cuts of the connection, and noted so that
`devbox services` shows its URL."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from devbox import paths
from devbox.box import processes
from devbox.errors import Conflict, SshError
from devbox.files import private_dir, write_atomic
from devbox.model import Box, Run
from devbox.remote import forward
from devbox.wire.codec import Unreadable, convert, plain
from devbox.wire.messages import Identity

_AGAIN = 2.0  # seconds between two tries to open it again


class Reach:
    """port: on the box. wish: the local port; where `fixed` is False another is taken when that
    is in use. `url` once it is open. Conflict, SshError as `remote.forward.opened`."""

    def __init__(self, box: Box, run: Run, port: int, *, wish: int, fixed: bool) -> None:
        self._box, self._run, self._port = box, run, port
        self._stack = ExitStack()
        self._tried = 0.0
        try:
            self._forward = self._open(wish)
        except Conflict:
            if fixed:
                raise
            self._forward = self._open(_free_port())
        write_atomic(_note(run.id), json.dumps(self._noted()), mode=0o600)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._local}"

    def see_to(self) -> bool:
        """Open it again when the connection was cut; whether that was done now."""
        now = time.monotonic()
        if self._forward.is_open or now - self._tried < _AGAIN:
            return False
        self._tried = now
        self._stack.close()
        with suppress(SshError, Conflict):  # tried again at the next look
            self._forward = self._open(self._local)
            return True
        return False

    def close(self) -> None:
        _note(self._run.id).unlink(missing_ok=True)
        self._stack.close()

    def __enter__(self) -> Reach:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, local: int) -> forward.Forward:
        opened = self._stack.enter_context(
            forward.opened(self._box, forward.Ports(local, self._port))
        )
        self._local = local
        return opened

    def _noted(self) -> dict[str, object]:
        return {"url": self.url, "process": plain(processes.identity(os.getpid()))}


def url_of(run: Run) -> str:
    """Where a devbox of this computer forwards that service now; "" where none does."""
    try:
        found = json.loads(_note(run.id).read_bytes())
        alive = processes.is_alive(convert(found["process"], Identity))
    except (OSError, ValueError, KeyError, TypeError, Unreadable):
        return ""
    return str(found.get("url", "")) if alive else ""


def _note(run_id: str) -> Path:
    return private_dir(paths.home() / "forwards") / f"{run_id}.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
