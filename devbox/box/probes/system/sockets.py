"""Bytes over the ssh port by the kernel's socket counters, which need no rights.

Asks NETLINK_SOCK_DIAG for tcp_info of established connections whose local port is the ssh
server's (layouts: linux/inet_diag.h, linux/tcp.h). Absent in some sandboxes: then None.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Dict, Optional, Tuple

_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301  # NETLINK_SOCK_DIAG; type; REQUEST|ROOT|MATCH
_ESTABLISHED = 1 << 1
_INFO = 2  # the INET_DIAG_INFO attribute
_DONE, _ERROR = 3, 2
_ACKED, _RECEIVED = 120, 128  # offsets in tcp_info of tcpi_bytes_acked, tcpi_bytes_received


class Sockets:
    """Counters of connections that existed at the first call start there, later ones at zero."""

    def __init__(self, port: Optional[int] = None) -> None:
        self._port = port or _ssh_port()
        self._live: Dict[bytes, Tuple[int, int]] = {}
        self._base: Dict[bytes, Tuple[int, int]] = {}
        self._gone = [0, 0]
        self._first = True

    def moved(self) -> Optional[Tuple[int, int]]:
        """(received, sent and acknowledged) since the first call; None where it cannot be told."""
        found: Dict[bytes, Tuple[int, int]] = {}
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                found.update(self._ask(family))
        except OSError:
            return None
        if self._first:
            self._base, self._first = dict(found), False
        for key in [key for key in self._live if key not in found]:
            moved = self._of(key)
            self._gone = [self._gone[0] + moved[0], self._gone[1] + moved[1]]
            self._base.pop(key, None)
            del self._live[key]
        self._live.update(found)
        rows = [self._of(key) for key in self._live]
        return (
            self._gone[0] + sum(row[0] for row in rows),
            self._gone[1] + sum(row[1] for row in rows),
        )

    def _of(self, key: bytes) -> Tuple[int, int]:
        rx, tx = self._live[key]
        base = self._base.get(key, (0, 0))
        return max(0, rx - base[0]), max(0, tx - base[1])

    def _ask(self, family: int) -> Dict[bytes, Tuple[int, int]]:
        body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _ESTABLISHED)
        body += struct.pack(">HH", self._port, 0) + bytes(44)
        head = struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _DUMP, 1, 0)
        found: Dict[bytes, Tuple[int, int]] = {}
        kind = (socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
        with socket.socket(socket.AF_NETLINK, *kind) as link:
            link.settimeout(0.2)
            link.sendto(head + body, (0, 0))
            while True:
                data = link.recv(1 << 17)
                while len(data) >= 16:
                    size, message = struct.unpack_from("=IH", data)
                    if message == _DONE or size < 16:
                        return found
                    if message == _ERROR:
                        raise OSError("the kernel does not answer about sockets")
                    found.update(self._row(data[16:size]))
                    data = data[(size + 3) & ~3 :]

    def _row(self, row: bytes) -> Dict[bytes, Tuple[int, int]]:
        # inet_diag_msg: 4 bytes, ports, addresses, interface, then the cookie that names it
        if len(row) < 72 or struct.unpack_from(">H", row, 4)[0] != self._port:
            return {}
        rest = row[72:]
        while len(rest) >= 4:
            size, kind = struct.unpack_from("=HH", rest)
            if size < 4:
                break
            if kind == _INFO and size >= 4 + _RECEIVED + 8:
                acked, received = struct.unpack_from("=QQ", rest, 4 + _ACKED)
                return {row[44:52]: (received, acked)}
            rest = rest[(size + 3) & ~3 :]
        return {}


def _ssh_port() -> int:
    """The server's port, which sshd tells each login ("client port server port")."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    with suppress(IndexError, ValueError):
        return int(words[3])
    return 22
