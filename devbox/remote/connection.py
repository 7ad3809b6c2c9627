"""Programs and files of a box over one ssh connection: fabric, held to our pinned host keys and our
key. Everything that comes back is bounded in size and given as it came; whoever
shows it to a user cleans it.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from devbox import names, paths
from devbox.errors import HostKeyRefused, KeyRefused, NoAnswer, SshError
from devbox.model import Box, Endpoint
from devbox.process import Completed
from devbox.remote import keys
from devbox.remote.command import answer, marked
from devbox.remote.config import known_hosts
from devbox.remote.exec import failed, shown
from devbox.remote.offered import Offer
from devbox.remote.proxy import ProxySocket
from devbox.remote.pump import chunks, feed
from devbox.text import clean

if TYPE_CHECKING:
    import fabric
    import paramiko

MAX_OUTPUT = 64 * 1024**2  # bytes of one stream of one command


def connect(box: Box, *, timeout: float = 15.0) -> Connection:
    """Log in to a box. NoAnswer, KeyRefused or HostKeyRefused (all SshError) say what stood in
    the way. timeout: seconds for each of TCP, the ssh banner and the login."""
    return Connection(box, timeout=timeout)


class Connection:
    """A logged-in connection, and a context manager that closes it. One thread at a time."""

    def __init__(self, box: Box, *, timeout: float) -> None:
        if box.endpoint is None:
            raise NoAnswer(
                f"box {box.name} has no ssh address yet", fix=f"devbox status {box.name}"
            )
        keys.require_identity(box)
        self.box, self.is_new = box, False
        #: what the box's login shell printed before the last program's own output
        self.noise = b""
        self._fabric = _log_in(box, box.endpoint, timeout)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a program on the box to its end; arguments arrive unchanged.

        input: all of its stdin (None: empty). timeout: seconds, after which its channel is closed
        and SshError raised. check: SshError on a non-zero exit. A program killed by a signal has
        code -1. Output past 64 MiB a stream is an SshError.
        """
        out, err = bytearray(), bytearray()
        with self._started(argv) as channel:
            feed(channel, input or b"")
            deadline = None if timeout is None else time.monotonic() + timeout
            try:
                for kind, data in chunks(channel, deadline):
                    kept = out if kind == "out" else err
                    kept += data
                    if len(kept) > MAX_OUTPUT:
                        raise SshError(f"{shown(argv)} on {self.box.name} printed over 64 MiB")
            except TimeoutError:
                raise SshError(
                    f"{shown(argv)} on {self.box.name} did not finish within {timeout:.0f} s",
                    means="it may still be running there",
                ) from None
            code = self._code(channel, argv)
        self.noise, own = answer(bytes(out))
        own = self.noise if own is None else own  # why: a login that starts no program says why
        done = Completed(code, own.decode(errors="replace"), err.decode(errors="replace"))
        if check and code:
            raise failed(self.box, argv, done)
        return done

    def close(self) -> None:
        """End the connection; twice is fine."""
        self._fabric.close()
        self._fabric.client.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _started(self, argv: Sequence[str]) -> Iterator[paramiko.Channel]:
        """The channel of a program that was started; closed on the way out. paramiko's and the
        socket's errors are ours."""
        import paramiko

        line, doing = marked(argv), f"running {shown(argv)}"
        # fabric would try to open a connection that was cut again, over its dead socket.
        if not self._fabric.is_connected:
            raise _cut(self.box, doing)
        try:
            channel = self._fabric.create_session()
            with closing(channel):
                channel.exec_command(os.fsencode(line))
                yield channel
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self._fabric.is_connected or isinstance(error, ConnectionError):
                raise _cut(self.box, doing) from error
            why = getattr(error, "strerror", None) or str(error)
            raise SshError(f"{doing} on {self.box.name} failed: {clean(why, 200)}") from error

    def _code(self, channel: paramiko.Channel, argv: Sequence[str]) -> int:
        code: int = channel.recv_exit_status()
        if code == -1 and not (channel.transport and channel.transport.is_active()):
            raise _cut(self.box, f"running {shown(argv)}")
        return code


def _log_in(box: Box, endpoint: Endpoint, timeout: float) -> fabric.Connection:
    import fabric
    import paramiko

    # Without a handler Python prints paramiko's own account of a failed login on stderr.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    where = f"box {box.name} ({endpoint.host} port {endpoint.port})"
    alias = known_hosts.alias(box)
    user = names.user(endpoint.user)
    connection = fabric.Connection(
        # The host is looked up in known_hosts by this name; the socket says where it really is.
        host=alias,
        port=22,
        user=user,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        connect_kwargs={
            "sock": (sock := _socket(box, endpoint, where, timeout)),
            "auth_strategy": Offer(box, user),
            "banner_timeout": timeout,
            "auth_timeout": timeout,
            "channel_timeout": timeout,
        },
    )
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        if not known_hosts.pinned(alias):
            raise HostKeyRefused(
                f"no host key of {where} is pinned",
                means="nothing was sent to it",
                fix=f"devbox up {box.name}",
            )
        connection.client.load_system_host_keys(str(paths.known_hosts()))
        connection.open()
        connection.transport.set_keepalive(30)
    except BaseException as error:
        connection.client.close()
        sock.close()
        proxy = sock.said if isinstance(sock, ProxySocket) else ""
        if isinstance(error, paramiko.BadHostKeyException):
            raise HostKeyRefused(
                f"{where} shows another host key than the pinned one",
                means="someone may be in between, or the box was rebuilt; nothing was sent to it",
                fix=f"devbox reconcile, which asks the provider; then: devbox ssh {box.name}",
            ) from error
        if isinstance(error, paramiko.AuthenticationException):
            raise KeyRefused(
                f"{where} does not accept the key {paths.identity()}",
                fix="let it know this public key: " + keys.ensure_identity(),
            ) from error
        if isinstance(error, (paramiko.SSHException, EOFError, OSError)):
            raise NoAnswer(
                f"{where} does not answer as an ssh server: {clean(proxy or str(error), 200)}",
                fix=f"devbox status {box.name}",
                box=box.id,
            ) from error
        raise
    return connection


def _socket(box: Box, endpoint: Endpoint, where: str, timeout: float) -> socket.socket:
    if endpoint.via:
        return ProxySocket(endpoint)
    try:
        connected = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except OSError as error:
        why = error.strerror or str(error)
        raise NoAnswer(f"{where} does not answer: {clean(why, 200)}", box=box.id) from error
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # paramiko's keepalive sends and never looks for the reply; the kernel does.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
    return connected


def _cut(box: Box, doing: str) -> NoAnswer:
    return NoAnswer(f"the connection to {box.name} was cut while {doing}", box=box.id)
