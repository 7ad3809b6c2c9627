"""A port of a box on this machine's loopback, carried by the box's shared ssh connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from devbox import names
from devbox.errors import Conflict, NoAnswer, SshError, UsageError
from devbox.model import Box
from devbox.process import run
from devbox.remote.command import argv
from devbox.remote.exec import Program
from devbox.text import clean


class Ports(NamedTuple):
    """`local` on 127.0.0.1 here leads to `remote` on the box's loopback."""

    local: int
    remote: int


def parse(text: str) -> Ports:
    """'8888' or '9999:8888' ([LOCAL:]REMOTE). UsageError for anything else."""
    local, colon, remote = text.partition(":")
    try:
        return Ports(names.port(local), names.port(remote if colon else local))
    except UsageError as error:
        raise UsageError(
            f"{clean(text, 40)!r} is not [LOCAL:]REMOTE: {error.what}",
            fix="write for example 8888, or 9999:8888 for port 9999 of this machine",
        ) from error


class Forward:
    """An open forward. `wait` blocks until it ends."""

    def __init__(self, box: Box, session: Program) -> None:
        self._box, self._session = box, session

    @property
    def is_open(self) -> bool:
        """Whether the connection it belongs to is still there, as far as ssh knows."""
        return self._session.is_alive

    def wait(self) -> None:
        """Until the box or the connection goes away: NoAnswer. Ctrl-C is the usual end."""
        for _ in self._session.chunks():
            pass
        raise NoAnswer(
            f"the connection to {self._box.name} ended, and the forward with it",
            fix=f"devbox status {self._box.name}",
            box=self._box.id,
        )


@contextmanager
def opened(box: Box, ports: Ports) -> Iterator[Forward]:
    """Forward `ports` while the block runs. Conflict when the local port is in use."""
    # A quiet session keeps the shared connection open. It ends with our end of its stdin, so that a
    # devbox that was killed leaves none; Ctrl-C is not for it: it is needed until the cancel.
    with Program(box, ["cat"], hears_ctrl_c=False) as session:
        session.begin()
        wish = ["-L", f"127.0.0.1:{ports.local}:127.0.0.1:{ports.remote}"]
        done = run(argv(box, options=["-O", "forward", *wish]), check=False)
        if done.code:
            raise _refused(box, ports, done.err)
        try:
            yield Forward(box, session)
        finally:
            # When the shared connection is gone, so is the forward, and there is no one to tell.
            run(argv(box, options=["-O", "cancel", *wish]), check=False)


def _refused(box: Box, ports: Ports, said: str) -> SshError | Conflict:
    with socket.socket() as probe:
        # As ssh binds: a port that only lingers from an earlier connection is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", ports.local))
        except PermissionError:
            return Conflict(
                f"port {ports.local} of this machine needs root",
                fix=f"devbox forward {box.name} {ports.local + 8000}:{ports.remote}",
            )
        except OSError:
            other = ports.local + 1 if ports.local < 65535 else 8888
            return Conflict(
                f"port {ports.local} of this machine is in use",
                fix=f"take another: devbox forward {box.name} {other}:{ports.remote}",
            )
    return SshError(f"ssh did not forward port {ports.local}: {clean(said.strip()[-300:], 300)}")
