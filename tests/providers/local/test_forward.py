"""-L, -D and -R through a box, and unix sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.providers.local.conftest import Client


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a service that sends back what it gets, until its client stops sending."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(server,), daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def test_a_local_port_leads_through_the_box(client: Client, echo: int) -> None:
    port = free_port()
    client.forward("-L", f"127.0.0.1:{port}:127.0.0.1:{echo}")
    assert ask(("127.0.0.1", port), b"x" * 3_000_000) == b"x" * 3_000_000


def test_forwarded_bytes_count_as_use(
    client: Client, echo: int, until: Callable[..., None]
) -> None:
    port = free_port()
    client.forward("-L", f"127.0.0.1:{port}:127.0.0.1:{echo}")
    ask(("127.0.0.1", port), b"x" * 500_000)
    counts = client.folder.box_root / "ssh.json"

    def counted() -> bool:
        read: dict[str, int] = json.loads(counts.read_text()) if counts.exists() else {}
        return min(read.get("rx_bytes", 0), read.get("tx_bytes", 0)) >= 500_000

    until(counted)


def test_a_refused_port_is_only_that_connections_end(client: Client, echo: int) -> None:
    port, other, dead = free_port(), free_port(), free_port()
    client.forward("-L", f"{port}:127.0.0.1:{dead}", "-L", f"{other}:127.0.0.1:{echo}")
    assert ask(("127.0.0.1", port), b"x") == b""
    assert ask(("127.0.0.1", other), b"x") == b"x"


def test_a_socks_proxy(client: Client, echo: int) -> None:
    port = free_port()
    client.forward("-D", f"127.0.0.1:{port}")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as proxy:
        proxy.sendall(b"\x05\x01\x00")
        assert proxy.recv(2) == b"\x05\x00"
        host = b"localhost"
        proxy.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + struct.pack(">H", echo))
        assert proxy.recv(10)[1] == 0
        proxy.sendall(b"ping")
        assert proxy.recv(4) == b"ping"


@pytest.mark.parametrize("bind", ["", "localhost:", "*:"])
def test_a_remote_port_leads_back_and_listens_on_loopback_only(
    client: Client, echo: int, bind: str
) -> None:
    port = free_port()
    client.forward("-R", f"{bind}{port}:127.0.0.1:{echo}")
    assert ask(("127.0.0.1", port), b"back") == b"back"
    addresses = client.out(
        f"cat /proc/net/tcp | awk '$4==\"0A\"{{print $2}}' | grep -i :{port:04X}"
    )
    assert {line.split(":")[0] for line in addresses.split()} == {"0100007F"}


def test_unix_sockets_both_ways(client: Client, echo: int, home: Path) -> None:
    there, back = home / "there", home / "back"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(there))
    server.listen()
    threading.Thread(target=_serve, args=(server,), daemon=True).start()
    port = free_port()
    client.forward("-L", f"127.0.0.1:{port}:{there}", "-R", f"{back}:127.0.0.1:{echo}")
    assert ask(("127.0.0.1", port), b"one") == b"one"
    assert ask(str(back), b"two") == b"two"
    server.close()


def ask(address: tuple[str, int] | str, data: bytes) -> bytes:
    """Send, close our side, and read all of the answer."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        sender = threading.Thread(target=_send, args=(connection, data))
        sender.start()
        out = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                out += piece
        sender.join()
        return bytes(out)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _serve(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)
