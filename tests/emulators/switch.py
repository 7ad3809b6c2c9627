"""One address behind which another service may answer tomorrow: a forward of TCP connections whose
target a test changes."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

_BLOCK = 65536


class Switch:
    """to: `http://127.0.0.1:PORT` of who answers; connections that are open stay where they are."""

    def __init__(self, to: str) -> None:
        self.to = to
        switch = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                parts = urlsplit(switch.to)
                with suppress(OSError):
                    far = socket.create_connection((parts.hostname, parts.port))
                    back = threading.Thread(target=_pump, args=(far, self.request), daemon=True)
                    back.start()
                    _pump(self.request, far)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Switch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
