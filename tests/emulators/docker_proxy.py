"""A proxy before a real Docker engine, where tests make calls go wrong: by the name of a route,
before or after the engine has done what was asked.

with DockerProxy("unix:///var/run/docker.sock") as proxy:
    DockerClient(proxy.address)
    proxy.knobs.set("start_container", Fault.reply_lost())

Each client connection carries one request. Answers are read to their end before they are passed
on, but for streams (logs, builds, pulls, events) and connections that become raw ones.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.emulators.common import Calls, Clock, Fault, FaultKind, Knobs
from tests.emulators.common.listener import Listener

_BLOCK = 65536
_VERBS = {"start", "stop", "kill", "pause", "unpause", "restart", "wait", "logs", "attach"}
_NAMED = {
    ("GET", "info"): "info",
    ("GET", "version"): "version",
    ("GET", "_ping"): "ping",
    ("HEAD", "_ping"): "ping",
    ("GET", "events"): "events",
    ("POST", "build"): "build",
    ("GET", "containers/json"): "list_containers",
    ("POST", "containers/create"): "create_container",
    ("GET", "containers/*/json"): "inspect_container",
    ("DELETE", "containers/*"): "remove_container",
    ("PUT", "containers/*/archive"): "put_archive",
    ("GET", "containers/*/archive"): "get_archive",
    ("POST", "containers/*/exec"): "create_exec",
    ("POST", "exec/*/start"): "start_exec",
    ("GET", "exec/*/json"): "inspect_exec",
    ("POST", "images/create"): "pull_image",
    ("GET", "images/*/json"): "inspect_image",
}
_STREAMS = {"events", "build", "pull_image", "logs_container", "attach_container", "start_exec"}


class Head(NamedTuple):
    """The first lines of a request or an answer."""

    first: str
    headers: dict[str, str]

    @property
    def method(self) -> str:
        return self.first.split(" ", 1)[0]

    def encoded(self, **changes: str) -> bytes:
        merged = {**self.headers, **changes}
        lines = [self.first, *(f"{key}: {value}" for key, value in merged.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class DockerProxy(Listener):
    """engine: `unix:///path` or `tcp://host:port`. The record of calls and the knobs are those of
    the emulators."""

    def __init__(self, engine: str, clock: Clock | None = None) -> None:
        self.engine = engine
        self.clock = clock or Clock()
        self.calls = Calls()
        self.knobs = Knobs()
        # A hook may count: calls are told one at a time.
        self.telling = threading.Lock()
        super().__init__(self._exchange)

    @property
    def address(self) -> str:
        """For DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self.port}"

    def upstream(self) -> socket.socket:
        parts = urlsplit(self.engine)
        if parts.scheme == "unix":
            made = socket.socket(socket.AF_UNIX)
            made.connect(parts.path)
            return made
        return socket.create_connection((parts.hostname, parts.port or 2375))

    def _exchange(self, client: socket.socket) -> None:
        with suppress(ConnectionError):
            _Exchange(self, client).run()


def route(method: str, target: str) -> str:
    """The name of a call: "start_container", "inspect_image" …"""
    path = re.sub(r"^/(v\d+\.\d+/)?", "", urlsplit(target).path)
    parts = path.split("/")
    if parts[0] == "images" and len(parts) > 2:
        parts = ["images", "*", parts[-1]]  # a reference holds slashes of its own
    elif len(parts) > 1 and (parts[0], parts[1]) not in (
        ("containers", "json"),
        ("containers", "create"),
        ("images", "create"),
    ):
        parts[1] = "*"
    if method == "POST" and len(parts) == 3 and parts[0] == "containers" and parts[2] in _VERBS:
        return f"{parts[2]}_container"
    if parts[0] == "containers" and parts[-1] in _VERBS:
        return f"{parts[-1]}_container"
    return _NAMED.get((method, "/".join(parts)), f"{method} {'/'.join(parts)}")


class _Exchange:
    """One request of a client and its answer."""

    def __init__(self, proxy: DockerProxy, client: socket.socket) -> None:
        self._proxy, self._client = proxy, client

    def run(self) -> None:
        read = _head(self._client)
        if read is None:
            return
        head, rest = read
        name = route(head.method, head.first.split(" ")[1])
        outcome = self._answer(name, head, rest)
        self._proxy.calls.record(name, self._proxy.clock.now(), outcome)

    def _answer(self, name: str, head: Head, rest: bytes) -> str:
        proxy = self._proxy
        body = rest + b"".join(_rest_of_body(self._client, head, rest))
        if not self._tell(name, before=True):
            return self._cut("dropped")
        fault = proxy.knobs.take_transport(name)
        kind = fault.kind if fault else None
        if fault is not None and kind is FaultKind.LATENCY:
            time.sleep(fault.seconds)
        if kind is FaultKind.RESET:
            return self._cut("reset")
        if fault is not None and kind is FaultKind.STATUS:
            self._client.sendall(_refusal(fault))
            return str(fault.status)
        with proxy.upstream() as engine:
            raw = "upgrade" in {key.lower() for key in head.headers}
            engine.sendall(head.encoded(**({} if raw else {"Connection": "close"})) + body)
            if name in _STREAMS or raw:
                self._pump(engine)
                self._tell(name, before=False)
                return "stream"
            answer = b"".join(_blocks(engine))
        self._tell(name, before=False)
        if kind is FaultKind.REPLY_LOST:
            return self._cut("lost")
        self._client.sendall(answer)
        return answer[9:12].decode()

    def _tell(self, name: str, *, before: bool) -> bool:
        with self._proxy.telling:
            return self._proxy.calls.tell(name, "before" if before else "after")

    def _pump(self, engine: socket.socket) -> None:
        """Both ways, until the engine has said all."""

        def up() -> None:
            with suppress(OSError):
                for block in _blocks(self._client):
                    engine.sendall(block)

        threading.Thread(target=up, daemon=True).start()
        for block in _blocks(engine):
            self._client.sendall(block)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _cut(self, outcome: str) -> str:
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()
        return outcome


def _head(source: socket.socket) -> tuple[Head, bytes] | None:
    """The head of a message and what was read past it; None when nothing comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = source.recv(_BLOCK)
        if not block:
            return None
        data += block
    text, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    headers.pop("Connection", None) if "Upgrade" not in headers else None
    return Head(first, headers), rest


def _rest_of_body(source: socket.socket, head: Head, seen: bytes) -> Iterator[bytes]:
    headers = {key.lower(): value for key, value in head.headers.items()}
    if "chunked" in headers.get("transfer-encoding", ""):
        end = seen
        while not end.endswith(b"0\r\n\r\n"):
            block = source.recv(_BLOCK)
            if not block:
                return
            end = (end + block)[-8:]
            yield block
        return
    left = int(headers.get("content-length", 0)) - len(seen)
    while left > 0:
        block = source.recv(min(_BLOCK, left))
        if not block:
            return
        left -= len(block)
        yield block


def _blocks(source: socket.socket) -> Iterator[bytes]:
    while block := source.recv(_BLOCK):
        yield block


def _refusal(fault: Fault) -> bytes:
    body = f'{{"message":"{fault.message}"}}'.encode()
    extra = "" if fault.retry_after is None else f"Retry-After: {round(fault.retry_after)}\r\n"
    head = (
        f"HTTP/1.1 {fault.status} Emulated\r\nContent-Type: application/json\r\n{extra}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
