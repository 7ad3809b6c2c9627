"""`devbox forward` as a user runs it."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox.errors import UsageError
from devbox.model import Box
from devbox.remote import forward
from devbox.remote.config import ssh_config
from tests.remote.conftest import DEVBOX, devbox, track
from tests.remote.sshd import Sshd, box_at, free_port


@pytest.fixture
def served(home: Path) -> Iterator[int]:
    """The port of a web server that stands for one on the box."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the box")

        def log_message(self, *_: object) -> None:
            """Silent."""

    del home
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def _forwarding(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*DEVBOX, "forward", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_forward_until_interrupted(box: Box, served: int, number: signal.Signals) -> None:
    local = free_port()
    process = _forwarding(box.name, f"{local}:{served}", "--json")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told == {
        "version": 1, "kind": "forward", "box": "one", "host": "127.0.0.1",
        "local": local, "remote": served,
    }  # fmt: skip
    with urllib.request.urlopen(f"http://127.0.0.1:{local}/") as answer:
        assert answer.read() == b"hello from the box"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.decode().endswith("forward ended\n")
    assert not _open(local)
    again = _forwarding(box.name, f"{local}:{served}")
    assert again.stdout is not None
    assert again.stdout.readline() == f"127.0.0.1:{local}\n".encode()
    again.kill()
    again.communicate()
    # Killed outright, it leaves the forward to the shared connection; a new one takes it over.
    third = _forwarding(box.name, f"{local}:{served}", "--quiet")
    assert third.stdout is not None
    assert third.stdout.readline() == f"127.0.0.1:{local}\n".encode()
    third.send_signal(signal.SIGINT)
    assert third.communicate(timeout=60)[1] == b""


def test_forward_says_when_the_port_is_taken(box: Box, served: int) -> None:
    done = devbox("forward", box.name, f"{served}:{served}")
    assert done.returncode == 5
    assert done.stdout == b""
    assert f"port {served} of this machine is in use".encode() in done.stderr
    assert f"devbox forward one {served + 1}:{served}".encode() in done.stderr


def test_forward_ends_with_the_box(box: Box, sshd: Sshd, served: int) -> None:
    process = _forwarding(box.name, f"{free_port()}:{served}")
    assert process.stdout is not None
    assert process.stdout.readline()
    sshd.stop()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 9
    assert b"the forward with it" in err


def test_forward_to_a_box_that_does_not_answer(home: Path, sshd: Sshd) -> None:
    del home
    box = box_at(free_port(), sshd.host_key)
    track(box)
    ssh_config.publish([box])
    done = devbox("forward", "one", "8888")
    assert done.returncode == 9
    assert b"box one cannot be reached: ssh: connect to host" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["", ":", "0", "65536", "-1", "80:", ":80", "1:2:3", "0.0.0.0:80:80", "a", "80 ", "80\n",
     "٣", "1e3", "-oProxyCommand=x", "8" * 10_000, "80:0", "+80", "0x50", "127.0.0.1:80"],
)  # fmt: skip
def test_ports_are_validated(text: str) -> None:
    with pytest.raises(UsageError):
        forward.parse(text)


def test_ports_are_read() -> None:
    assert forward.parse("8888") == (8888, 8888)
    assert forward.parse("9000:8888") == (9000, 8888)


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
