"""File transfer over sftp, which scp uses too. The server's working folder is the box's HOME, so
relative paths start there."""

from __future__ import annotations

from typing import cast

import asyncssh
from asyncssh.stream import SSHServerStreamSession

from devbox.providers.local.traffic import Traffic

_VERSION = 3  # the one OpenSSH speaks


class Files(asyncssh.SFTPServer):
    """asyncssh's file server, and the two things it leaves out."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], traffic: Traffic) -> None:
        super().__init__(channel)
        self._traffic = traffic

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        data = cast(bytes, super().read(file_obj, offset, size))
        self._traffic.sent += len(data)
        return data

    def exit(self) -> None:
        # asyncssh ends without an exit status, which scp reads as a failure.
        self.channel.exit(0)


def session(traffic: Traffic) -> SSHServerStreamSession[bytes]:
    """A session to hand an sftp channel's events to."""
    return SSHServerStreamSession(
        None,
        lambda channel: Files(cast("asyncssh.SSHServerChannel[bytes]", channel), traffic),
        _VERSION,
    )
