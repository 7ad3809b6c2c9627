"""A way to a box through the user's ProxyCommand, as a real socket: when the command ends, the
socket ends, which paramiko's own ProxyCommand does not notice."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import threading

from devbox.model import Endpoint

_LAST_WORDS = 300
_PATIENCE = 2.0  # seconds a command may take to end once it was asked to


def expanded(endpoint: Endpoint) -> str:
    """The command with ssh's tokens %h, %p, %r and %% replaced (ssh_config(5), TOKENS)."""
    tokens = {"h": endpoint.host, "p": str(endpoint.port), "r": endpoint.user, "%": "%"}
    return re.sub(r"%([hpr%])", lambda found: tokens[found[1]], endpoint.via)


class ProxySocket(socket.socket):
    """Our end of a socket pair whose other end is the command's stdin and stdout. Closing it ends
    the command; `said` is then the end of what it printed on stderr. Two threads may close it at
    once, paramiko's and the caller's: each returns when the command has ended."""

    said = ""

    def __init__(self, endpoint: Endpoint) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours.family, ours.type, ours.proto, ours.detach())
        # It must never ask on the terminal that another program may be using.
        environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
        self._closing = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the socket
        with theirs:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {expanded(endpoint)}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._stderr,
                start_new_session=True,
                env=environment,
            )

    def close(self) -> None:
        super().close()
        with self._closing:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            if not self._stderr.closed:
                end = self._stderr.seek(0, os.SEEK_END)
                self._stderr.seek(max(0, end - _LAST_WORDS))
                self.said = self._stderr.read().decode(errors="replace").strip()
                self._stderr.close()
