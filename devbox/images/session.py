"""BuildKit's session: the engine calls back, over a connection we open, for a build's secrets and
for registry logins. gRPC with the roles turned round: we are the server.

The `docker` package has no BuildKit session, and the docker command line is not always there (nor
always has buildx), so the few calls are answered here with the h2 package. A secret goes from this
process's memory into the engine's, is mounted for the one step that asks, and is in no layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from devbox.errors import UsageError
from devbox.images.buildkit import field, fields

if TYPE_CHECKING:
    from docker import APIClient

# One window of HTTP/2: an answer is sent whole, without waiting for room.
_LARGEST = 60_000
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105
_LOGIN = "/moby.filesync.v1.Auth/Credentials"
_HEALTH = "/grpc.health.v1.Health/Check"
_OK, _NOT_FOUND, _UNIMPLEMENTED = "0", "5", "12"
Answers = Mapping[str, Callable[[bytes], bytes | None]]


@contextmanager
def opened(api: APIClient, secrets: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """While it holds, the engine may ask. Gives the parameters that tie a build to the session.

    UsageError for a secret of over 60 kB.
    """
    values = {name: value.encode() for name, value in secrets.items()}
    for name, value in values.items():
        if len(value) > _LARGEST:
            raise UsageError(f"the secret {name} is over {_LARGEST // 1000} kB")
    session = token_hex(16)
    answers: Answers = {
        _SECRET: lambda asked: _secret(asked, values),
        _LOGIN: _login,
        _HEALTH: lambda _: b"\x08\x01",  # status: SERVING
    }
    response = api.post(
        f"{api.base_url}/v{api.api_version}/session",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "h2c",
            "X-Docker-Expose-Session-Uuid": session,
            "X-Docker-Expose-Session-Name": "devbox",
            "X-Docker-Expose-Session-Sharedkey": "",
            "X-Docker-Expose-Session-Grpc-Method": _SECRET,
        },
        stream=True,
        timeout=None,
    )
    raw = api._get_raw_response_socket(response)
    link = getattr(raw, "_sock", raw)
    # The engine may have spoken before we asked for the socket: its words are in this buffer.
    buffered = response.raw._fp.fp
    receive = buffered.read1 if hasattr(buffered, "read1") else link.recv
    thread = threading.Thread(target=_serve, args=(link, receive, answers), daemon=True)
    thread.start()
    try:
        yield {"session": session}
    finally:
        with suppress(OSError):
            link.shutdown(2)
        thread.join(5)
        response.close()


def _serve(link: Any, receive: Callable[[int], bytes], answers: Answers) -> None:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import DataReceived, RequestReceived, StreamEnded
    from h2.exceptions import ProtocolError

    server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    asked: dict[int, tuple[str, bytearray]] = {}
    # The engine hangs up when the build is over: an end like any other.
    with suppress(OSError, ProtocolError, ValueError):
        link.sendall(server.data_to_send())
        while data := receive(65536):
            for event in server.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = {str(name): str(value) for name, value in event.headers or ()}
                    asked[event.stream_id] = headers.get(":path", ""), bytearray()
                elif isinstance(event, DataReceived):
                    asked[event.stream_id][1].extend(event.data or b"")
                    server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    path, body = asked.pop(event.stream_id)
                    _answer(server, event.stream_id, answers.get(path), bytes(body[5:]))
            link.sendall(server.data_to_send())


def _answer(
    server: Any, stream: int, answer: Callable[[bytes], bytes | None] | None, message: bytes
) -> None:
    """A gRPC answer: headers, one message behind its length, trailers with the status."""
    said = answer(message) if answer else None
    status = _OK if said is not None else _NOT_FOUND if answer else _UNIMPLEMENTED
    server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    if said is not None:
        framed = b"\0" + len(said).to_bytes(4, "big") + said
        most = server.max_outbound_frame_size
        for at in range(0, len(framed), most):
            server.send_data(stream, framed[at : at + most])
    server.send_headers(stream, [("grpc-status", status)], end_stream=True)


def _secret(message: bytes, values: Mapping[str, bytes]) -> bytes | None:
    """GetSecretRequest {ID = 1} → GetSecretResponse {data = 1}."""
    wanted = _text(dict(fields(message)).get(1))
    return field(1, values[wanted]) if wanted in values else None


def _login(message: bytes) -> bytes:
    """CredentialsRequest {Host = 1} → CredentialsResponse {Username = 1, Secret = 2}, from the
    logins that `docker login` keeps; empty for none."""
    from docker import auth
    from docker.errors import DockerException

    host = _text(dict(fields(message)).get(1))
    try:
        found = auth.load_config().resolve_authconfig(
            None if host in ("registry-1.docker.io", "docker.io") else host
        )
    except DockerException:  # a broken credential helper: go on without a login
        found = None
    if not found:
        return b""
    user, password = found.get("username") or "", found.get("password") or ""
    return field(1, user.encode()) + field(2, password.encode())


def _text(value: int | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
