"""A registry on loopback: Debian's docker-registry, or the program of the same name."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote.sshd import free_port, wait_until


@pytest.fixture
def registry(home: Path) -> Iterator[str]:
    """Its host:port. Loopback registries need no TLS."""
    port = free_port()
    settings = home / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {home}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (home / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(port), "the registry answers", 30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
