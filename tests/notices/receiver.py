"""A receiver of webhooks on this machine, with the faults real ones have."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: what a reply may be instead of a status: no reply to a request that was read
LOST = "lost"


class Receiver:
    """replies: what the next requests get: a status, (status, headers) or LOST; then 204."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Semaphore(0)
        self.url = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posts]

    @property
    def ids(self) -> list[str]:
        return [body["id"] for body in self.bodies]

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append((headers, body))
                reply = receiver.replies.pop(0) if receiver.replies else 204
                if reply == LOST:
                    self.close_connection = True
                else:
                    status, more = reply if isinstance(reply, tuple) else (reply, {})
                    self.send_response(status)
                    for name, value in more.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                receiver.arrived.release()

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/hook/SECRETPATH"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
