"""The token goes to the Space's git server, and nowhere a user could trip over it."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from devbox import spec
from devbox.deploy import plan as plans
from devbox.deploy import push as pushes
from devbox.deploy import target
from devbox.deploy.push import Allowed
from devbox.errors import AuthError
from devbox.workspace import Workspace
from tests.deploy.conftest import Git
from tests.emulators.hf import HfEmulator

_BACKEND = "/usr/lib/git-core/git-http-backend"


class Server(ThreadingHTTPServer):
    """git's own HTTP backend behind a password. passwords: what clients have sent."""

    def __init__(self, root: Path, password: str) -> None:
        self.root, self.password = root, password
        self.passwords: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "").removeprefix("Basic ")
        password = base64.b64decode(sent).decode().partition(":")[2]
        if sent:
            self.server.passwords.append(password)
        if password != self.server.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._run()

    do_POST = do_GET

    def _run(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(
            [_BACKEND],
            input=body,
            capture_output=True,
            check=True,
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": "me",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for key, value in {**fields, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """The tests look at what was sent."""


@pytest.fixture
def server(bare: Git, home: Path, hub: HfEmulator) -> Iterator[Server]:
    made = Server(home / "server", hub.token)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def over_http(ws: Workspace, server: Server) -> Workspace:
    address = f"http://127.0.0.1:{server.server_address[1]}"
    config = spec.HfSettings(git_endpoint=address)
    ws.spec = msgspec.structs.replace(ws.spec, providers=spec.Providers(hf=config))
    return ws


def test_the_token_opens_the_door_and_is_kept_nowhere(
    over_http: Workspace, server: Server, project: Git, bare: Git, hub: HfEmulator, home: Path
) -> None:
    stale = home / ".git-credentials"
    stale.write_text(f"http://me:stale@127.0.0.1:{server.server_address[1]}\n")
    project("config", "--global", "credential.helper", "store")
    space = target.find(over_http, None)
    assert pushes.push(over_http, space, plans.plan(over_http, space, "git"), Allowed())
    assert bare("rev-parse", "main") == project("rev-parse", "HEAD")
    assert set(server.passwords) == {hub.token}
    assert "stale" in stale.read_text()
    kept = [file for file in (project.root / ".git").rglob("*") if file.is_file()]
    assert all(hub.token.encode() not in file.read_bytes() for file in [*kept, stale])


def test_a_token_without_the_right_says_where_to_get_one(
    over_http: Workspace, server: Server
) -> None:
    server.password = "another"
    with pytest.raises(AuthError, match="Authentication failed") as caught:
        plans.plan(over_http, target.find(over_http, None), "git")
    assert "hf auth login" in caught.value.fix
    assert server.passwords[0] not in caught.value.render()
