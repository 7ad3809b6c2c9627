"""A real OpenSSH server on a free loopback port, run as the current user: what `connect` and the
ssh client really talk to. `import` the `sshd` fixture into a conftest, or call `serve` directly.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from devbox import paths
from devbox.model import Box, BoxState, Endpoint, Price
from devbox.remote import keys

_SSHD = "/usr/sbin/sshd"


class Sshd:
    """A running server. `port` and the public `host_key` say how to reach it; the identity of
    the current DEVBOX_HOME may log in unless `authorise` says otherwise. settings: lines of
    sshd_config that come first, and win."""

    def __init__(self, folder: Path, port: int | None = None, settings: str = "") -> None:
        self.folder = folder
        self.settings = settings
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700, parents=True)
        self.new_host_key()
        self.authorise(keys.ensure_identity())
        self.start()

    def new_host_key(self) -> None:
        """Replace the host key; takes effect at the next start."""
        private, self.host_key = keys.new_host_key()
        file = self.folder / "host_key"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(private)

    def authorise(self, *public_lines: str) -> None:
        """Make these the only keys that may log in."""
        (self.folder / "authorized_keys").write_text("".join(f"{line}\n" for line in public_lines))

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(
            self.settings
            # bash, started by sshd, reads the ~/.bashrc of whoever runs the tests: not as a
            # subshell. What that file does may take its time, or a lock that keeps every later
            # session waiting once this server was killed.
            + "SetEnv SHLVL=2\n"
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "AllowTcpForwarding yes\nSubsystem sftp internal-sftp\nMaxStartups 50:30:100\n"
            "PermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
        )
        if os.getuid() == 0:
            # Where sshd confines its unprivileged half; it has one only when started by root.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = self.folder / "log"
        self._process = subprocess.Popen([_SSHD, "-D", "-f", config, "-E", log])
        wait_until(lambda: _answers(self.port), "sshd answers")

    def stop(self) -> None:
        """Kill the server and every session of it, as a machine that is switched off does."""
        if self._process is None:
            return
        found = psutil.Process(self._process.pid)
        for process in [*found.children(recursive=True), found]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    def box(self, name: str = "one", *, told: bool = True, gateway: bool = False) -> Box:
        """A running box at this server. told: its host key came from its provider. gateway: the
        server is one that knows its users' own keys."""
        found = box_at(self.port, self.host_key if told else None, name)
        assert found.endpoint
        alias = "gateway-test" if gateway else ""
        return replace(found, endpoint=replace(found.endpoint, host_key_alias=alias))


def box_at(port: int, host_key: str | None, name: str = "one") -> Box:
    """A running box at a loopback port, for the current user."""
    host_keys = (host_key,) if host_key else None
    return make_box(name, Endpoint("127.0.0.1", port, getpass.getuser(), host_keys))


def make_box(
    name: str = "one",
    endpoint: Endpoint | None = None,
    provider: str = "local",
    state: BoxState = BoxState.RUNNING,
) -> Box:
    """A tracked box as the store would give it."""
    return Box(
        id=f"id-{name}",
        name=name,
        provider=provider,
        token=f"token-{name}",
        state=state,
        hardware="local",
        price=Price(0, "test"),
        created=1.0,
        updated=1.0,
        seen=1.0,
        endpoint=endpoint,
    )


@contextmanager
def serve() -> Iterator[Sshd]:
    """A server under the current DEVBOX_HOME, stopped on the way out with its connections."""
    server = Sshd(paths.home() / "sshd")
    try:
        yield server
    finally:
        server.stop()
        close_masters()


@pytest.fixture
def sshd(home: Path) -> Iterator[Sshd]:
    del home
    with serve() as server:
        yield server


def close_masters() -> None:
    """End the shared connections that ssh keeps in the background."""
    folder = paths.control_dir()
    for socket_file in folder.iterdir() if folder else ():
        subprocess.run(
            ["ssh", "-F", "none", "-o", f"ControlPath={socket_file}", "-O", "exit", "x"],
            capture_output=True,
            check=False,
        )


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 120.0) -> None:
    """Poll until `condition` holds; AssertionError naming `what` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain until {what}"
        time.sleep(0.01)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
