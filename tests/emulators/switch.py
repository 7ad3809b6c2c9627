"""One address behind which another service may answer tomorrow: a forward of TCP connections whose
target a test changes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.emulators.common.listener import Listener

_BLOCK = 65536


class Switch(Listener):
    """to: `http://127.0.0.1:PORT` of who answers; connections that are open stay where they are."""

    def __init__(self, to: str) -> None:
        self.to = to
        super().__init__(self._forward)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _forward(self, near: socket.socket) -> None:
        parts = urlsplit(self.to)
        with suppress(OSError):
            far = socket.create_connection((parts.hostname, parts.port))
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
