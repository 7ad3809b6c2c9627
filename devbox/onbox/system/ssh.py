"""How much passes over ssh, so that the idle policy sees a person at work, not an open socket.

Where the ssh server counts for us (ssh.json) its numbers are taken. Else they come from
/proc/PID/io of OpenSSH's processes (`sshd`, and `sshd-session` since 9.8): rchar is what they read
and wchar what they wrote, from network and programs alike, so with OpenSSH both numbers hold
both directions; their sum still says how much moved. A non-root agent may not read io of a root
server's processes; then the kernel's per-socket counters (tcp_info) of the ssh port are used.

Left out: what devbox's own telemetry streams sent (streams/<pid>), and the first bytes of each
login, which are its handshake. Not seen: a login shorter than the search interval, other ssh
servers than OpenSSH (dropbear, a provider's gateway that does not come in over sshd), and over
tcp_info a connection's last bytes before it closes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from devbox.onbox.system import PROC
from devbox.onbox.system.sockets import Sockets
from devbox.onbox.system.sshd import Sshd
from devbox.onbox.system.streams import Streams

_SEARCH_EVERY = 2.0


class SshTraffic:
    """Cumulative counters since the sampler began; they never go down."""

    def __init__(self, root: Path, proc: Path = PROC) -> None:
        self._file = root / "ssh.json"
        self._sshd, self._streams, self._sockets = Sshd(proc), Streams(root, proc), Sockets()
        self._searched_at = float("-inf")
        self._highest = [0, 0]

    def read(self, now: float) -> Optional[Dict[str, Any]]:
        """{"sessions", "rx_bytes", "tx_bytes"}; None where nothing here can be measured."""
        counted = _from_server(self._file)
        if counted is not None:
            return counted
        if not 0 <= now - self._searched_at < _SEARCH_EVERY:
            self._searched_at = now
            self._sshd.search()
            self._streams.search()
        if not self._sshd.found:
            return None
        moved = self._bytes()
        if moved is None:
            return {"sessions": self._sshd.sessions, "rx_bytes": None, "tx_bytes": None}
        for side in (0, 1):
            self._highest[side] = max(self._highest[side], moved[side])
        rx, tx = self._highest
        return {"sessions": self._sshd.sessions, "rx_bytes": rx, "tx_bytes": tx}

    def _bytes(self) -> Optional[Tuple[int, int]]:
        payload, wire = self._streams.sent()
        if self._sshd.readable:
            rx, tx = self._sshd.moved()
            return rx - payload, tx - wire  # it read our lines from the program, then wrote them
        moved = self._sockets.moved()
        return None if moved is None else (moved[0], moved[1] - wire)


def _from_server(path: Path) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(path.read_bytes()[:4096])
    except (OSError, ValueError):
        return None
    keys = ("sessions", "rx_bytes", "tx_bytes")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), int) for key in keys):
        return None
    return {key: found[key] for key in keys}
