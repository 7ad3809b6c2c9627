"""A live box and the real OpenSSH tools pointed at it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import paths
from devbox.model import Box
from devbox.providers.local.box_dir import BoxDir

Run = subprocess.CompletedProcess[bytes]


class Client:
    """ssh and friends against one box, with devbox's own configuration."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.folder = BoxDir(paths.local_boxes() / box.token)
        self.options = ["-F", str(paths.ssh_config())]
        self.alone = ["-o", "ControlPath=none"]  # last: the first value of an option counts
        self._open: list[subprocess.Popen[bytes]] = []

    def argv(self, *words: str) -> list[str]:
        """ssh with options and command, no shared connection."""
        options = [*self.options, *words[:-1], *self.alone]
        return ["ssh", *options, self.box.alias, *words[-1:]]

    def run(self, *words: str, data: bytes | None = None) -> Run:
        """Options first, the remote command line last."""
        return subprocess.run(
            self.argv(*words),
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def out(self, *words: str, data: bytes | None = None) -> str:
        done = self.run(*words, data=data)
        assert done.returncode == 0, done
        return done.stdout.decode()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """In the background; killed after the test."""
        pipe = subprocess.PIPE
        child = subprocess.Popen(self.argv(*words), stdin=pipe, stdout=pipe, stderr=pipe)
        self._open.append(child)
        return child

    def forward(self, *flags: str) -> subprocess.Popen[bytes]:
        """ssh -N with these forwards, once they are set up."""
        argv = [
            "ssh",
            *self.options,
            "-o",
            "ExitOnForwardFailure=yes",
            "-v",
            "-N",
            *self.alone,
            *flags,
        ]
        child = subprocess.Popen(
            [*argv, self.box.alias], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._open.append(child)
        assert child.stderr is not None
        said = []
        for line in child.stderr:
            said.append(line)
            ready = b"remote forward success" if "-R" in flags else b"Entering interactive"
            if ready in line:
                break
        else:
            raise AssertionError(b"".join(said).decode())
        threading.Thread(target=child.stderr.read, daemon=True).start()
        return child

    def close(self) -> None:
        for child in self._open:
            child.kill()
            child.communicate()


class Terminal:
    """A user's terminal with `ssh -tt` on it: the client's side is a real pty."""

    def __init__(self, argv: list[str], rows: int, columns: int) -> None:
        self.master, slave = os.openpty()
        self.resize(rows, columns)
        self.child = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        """As a window manager does: the size, then the signal."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "child"):
            self.child.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, seconds: float = 120.0) -> None:
        """Read until `text` has appeared since the last `expect`."""
        until = time.monotonic() + seconds
        while text.encode() not in self.seen:
            left = until - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError as error:
                    raise AssertionError(f"no {text!r} in {self.seen!r}, then EOF") from error
        self.seen = self.seen.partition(text.encode())[2]

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.master)


@pytest.fixture
def client(local_box: Box) -> Iterator[Client]:
    client = Client(local_box)
    yield client
    client.close()


@pytest.fixture
def terminal(client: Client) -> Iterator[Callable[..., Terminal]]:
    """terminal(*command, rows=24, columns=80) → a Terminal on the box."""
    made: list[Terminal] = []

    def make(*command: str, rows: int = 24, columns: int = 80) -> Terminal:
        argv = ["ssh", *client.options, *client.alone, "-tt", client.box.alias, *command]
        made.append(Terminal(argv, rows, columns))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def until() -> Callable[..., None]:
    """until(condition, seconds=120): poll a condition until it holds."""

    def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.01)

    return wait


@pytest.fixture
def box_home(client: Client) -> Path:
    """The folder that is HOME on the box."""
    return client.folder.home
