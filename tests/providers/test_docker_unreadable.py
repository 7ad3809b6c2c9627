"""Something that is no Docker engine answers 200 in its place: a passing fault, no parser text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from devbox.errors import Unavailable
from devbox.providers.docker.provider import Docker
from devbox.spec import DockerSettings


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><p>Please sign in to this network.</p>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not of interest."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_in_the_engines_place_is_a_passing_fault(address: str) -> None:
    docker = Docker(DockerSettings(docker_host=address))
    with pytest.raises(Unavailable) as caught:
        docker.find()
    assert "cannot be read" in caught.value.what
    assert "Expecting" not in caught.value.render()
