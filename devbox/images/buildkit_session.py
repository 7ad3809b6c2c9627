"""BuildKit's session: over a connection we open, the engine calls back for the build context, for
secrets and for registry logins. gRPC with the roles turned round: we are the server.

The `docker` package has no BuildKit session, and the docker command line is not always there (nor
always has buildx), so the few calls are answered here with the h2 package. A secret goes from this
process's memory into the engine's, is mounted for the one step that asks, and is in no layer.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from devbox.errors import UsageError
from devbox.images.filesync import METHOD, Folders, Sender
from devbox.images.protobuf import field, fields, text

if TYPE_CHECKING:
    from docker import APIClient
    from h2.connection import H2Connection

_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105
_LOGIN = "/moby.filesync.v1.Auth/Credentials"
_HEALTH = "/grpc.health.v1.Health/Check"
_OK, _NOT_FOUND, _UNIMPLEMENTED = "0", "5", "12"
_LARGEST = 500_000  # bytes of a secret, as BuildKit has it
Answer = Callable[[bytes], bytes | None]


@contextmanager
def opened(api: APIClient, folders: Folders, secrets: Mapping[str, str], key: str) -> Iterator[str]:
    """The session's id, while it holds and the engine may call. key: the same for builds of the
    same project, so that the engine sends for what has changed.

    UsageError for a secret that is too large.
    """
    values = {name: value.encode() for name, value in secrets.items()}
    for name, value in values.items():
        if len(value) > _LARGEST:
            raise UsageError(f"the secret {name} is over {_LARGEST // 1000} kB")
    answers: dict[str, Answer] = {
        _SECRET: lambda asked: _secret(asked, values),
        _LOGIN: _login,
        _HEALTH: lambda _: b"\x08\x01",  # status: SERVING
    }
    session = token_hex(16)
    mine = hashlib.sha256(f"{uuid.getnode()}\0{key}".encode()).hexdigest()
    response = api.post(
        f"{api.base_url}/v{api.api_version}/session",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "h2c",
            "X-Docker-Expose-Session-Uuid": session,
            "X-Docker-Expose-Session-Name": "devbox",
            "X-Docker-Expose-Session-Sharedkey": mine,
            "X-Docker-Expose-Session-Grpc-Method": METHOD,
        },
        stream=True,
        timeout=None,
    )
    raw = api._get_raw_response_socket(response)
    link = getattr(raw, "_sock", raw)
    link.settimeout(None)
    server = _Server(link.sendall, folders, answers)
    # The engine may have spoken before we asked for the socket: its words are in this buffer.
    receive = response.raw._fp.fp.read1
    thread = threading.Thread(target=server.run, args=(receive,), daemon=True)
    thread.start()
    try:
        yield session
    finally:
        with suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        response.close()


class _Call:
    """One call of the engine. incoming: bytes not yet a whole message. outgoing: bytes not yet
    sent. status: of its end, once that is known."""

    def __init__(self, path: str, sender: Sender | None) -> None:
        self.path, self.sender = path, sender
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.status = ""

    def messages(self) -> Iterator[bytes]:
        """Whole messages: each comes behind a flag and its length."""
        while len(self.incoming) >= 5:
            end = 5 + int.from_bytes(self.incoming[1:5], "big")
            if len(self.incoming) < end:
                return
            yield bytes(self.incoming[5:end])
            del self.incoming[:end]

    def say(self, message: bytes) -> None:
        self.outgoing += b"\0" + len(message).to_bytes(4, "big") + message


class _Server:
    def __init__(
        self, send: Callable[[bytes], object], folders: Folders, answers: Mapping[str, Answer]
    ) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self._send, self._folders, self._answers = send, folders, answers
        self._http: H2Connection = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self._calls: dict[int, _Call] = {}

    def run(self, receive: Callable[[int], bytes]) -> None:
        from h2.exceptions import ProtocolError

        # The engine hangs up when the build is over: an end like any other. A context that cannot
        # be read ends the connection, and the engine's error is the build's.
        with suppress(OSError, ProtocolError, ValueError):
            self._http.initiate_connection()
            self._send(self._http.data_to_send())
            while data := receive(65536):
                for event in self._http.receive_data(data):
                    self._heard(event)
                for stream in list(self._calls):
                    self._speak(stream)
                self._send(self._http.data_to_send())

    def _heard(self, event: object) -> None:
        from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset

        if isinstance(event, RequestReceived):
            self._called(event.stream_id, [(str(k), str(v)) for k, v in event.headers or ()])
        elif isinstance(event, DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if call := self._calls.get(event.stream_id):
                call.incoming += event.data or b""
                for message in call.messages() if call.sender else ():
                    call.sender.told(message)  # type: ignore[union-attr]
        elif isinstance(event, StreamEnded):
            if (call := self._calls.get(event.stream_id)) and not call.sender:
                self._answer(call)
        elif isinstance(event, StreamReset):
            self._calls.pop(event.stream_id, None)

    def _called(self, stream: int, headers: list[tuple[str, str]]) -> None:
        path = dict(headers).get(":path", "")
        sender = None
        if path == METHOD:
            entries = self._folders.get(dict(headers).get("dir-name", ""), [])
            sender = Sender(entries, frozenset(v for k, v in headers if k == "include-patterns"))
        self._calls[stream] = _Call(path, sender)
        start = [(":status", "200"), ("content-type", "application/grpc")]
        self._http.send_headers(stream, start)

    def _answer(self, call: _Call) -> None:
        answer = self._answers.get(call.path)
        said = answer(next(call.messages(), b"")) if answer else None
        if said is not None:
            call.say(said)
        call.status = _OK if said is not None else _NOT_FOUND if answer else _UNIMPLEMENTED

    def _speak(self, stream: int) -> None:
        """Send as much as the engine has room for; the rest when it tells of more room."""
        call = self._calls[stream]
        while room := min(
            self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size
        ):
            while len(call.outgoing) < room and call.sender:
                packet = call.sender.next()
                if packet is None:
                    call.status = _OK if call.sender.over else ""
                    break
                call.say(packet)
            if not call.outgoing:
                break
            self._http.send_data(stream, bytes(call.outgoing[:room]))
            del call.outgoing[:room]
        if call.status and not call.outgoing:
            self._http.send_headers(stream, [("grpc-status", call.status)], end_stream=True)
            del self._calls[stream]


def _secret(message: bytes, values: Mapping[str, bytes]) -> bytes | None:
    """GetSecretRequest {ID = 1} → GetSecretResponse {data = 1}."""
    wanted = text(dict(fields(message)).get(1))
    return field(1, values[wanted]) if wanted in values else None


def _login(message: bytes) -> bytes:
    """CredentialsRequest {Host = 1} → CredentialsResponse {Username = 1, Secret = 2}, from the
    logins that `docker login` keeps; empty for none."""
    from docker import auth
    from docker.errors import DockerException

    host = text(dict(fields(message)).get(1))
    # Docker's own registry has another name than the login for it.
    own = f".{host}".endswith(f".{auth.INDEX_NAME}")
    try:
        found = auth.load_config().resolve_authconfig(None if own else host)
    except DockerException:  # a broken credential helper: continue without a login
        found = None
    if not found or not host:  # for no host the package would give Docker's own
        return b""
    user, password = found.get("username") or "", found.get("password") or ""
    return field(1, user.encode()) + field(2, password.encode())
