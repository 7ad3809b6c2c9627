"""How much passes over ssh, so that the idle policy sees a user at work, not an open socket.

Where the ssh server counts for us (ssh.json) its numbers are taken. Else they come from
/proc/PID/task/PID/io of OpenSSH's processes (`sshd`, and `sshd-session` since 9.8): rchar is what
they read and wchar what they wrote, from network and programs alike, so with OpenSSH both numbers
hold both directions; their sum still says how much moved. A non-root agent may not read io of a
root server's processes; then the kernel's socket counters (tcp_info) of the ssh port are used.

Left out: what devbox's own telemetry streams sent (streams/<pid>), and a handshake's worth (64 kB
read, 16 kB written) of what a login did before it was first seen. Not seen: a login shorter than
the search interval, other ssh servers than OpenSSH (dropbear, a provider's gateway that does not
come in over sshd), and a connection's last bytes before it closes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Optional, Tuple

from devbox.box.probes.system import PROC
from devbox.box.probes.system.sockets import Sockets
from devbox.box.probes.system.sshd import Sshd
from devbox.box.probes.system.streams import Streams

_SEARCH_EVERY = 2.0
_FORGIVEN_AFTER = 3  # readings


class SshTraffic:
    """Cumulative counters since the sampler began; they never go down. port: of the ssh server."""

    def __init__(self, root: Path, proc: Path = PROC, port: Optional[int] = None) -> None:
        self._file = root / "ssh.json"
        self._sshd, self._streams = Sshd(proc), Streams(root, proc)
        self._sockets = Sockets(port)
        self._searched_at = float("-inf")
        self._rx, self._tx = _Use(), _Use()

    def read(self, now: float) -> Optional[Dict[str, Optional[int]]]:
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
        payload, wire = self._streams.sent()
        if self._sshd.readable:
            moved: Optional[Tuple[int, int]] = self._sshd.moved()
        else:
            moved, payload = self._sockets.moved(), 0
        if moved is None:
            return {"sessions": self._sshd.sessions, "rx_bytes": None, "tx_bytes": None}
        # sshd reads our lines from the stream's pipe, then writes them to the wire
        rx, tx = self._rx.step(moved[0], payload), self._tx.step(moved[1], wire)
        return {"sessions": self._sshd.sessions, "rx_bytes": rx, "tx_bytes": tx}


class _Use:
    """Bytes moved without our own, summed up from reading to reading.

    A stream notes what it sends just before sshd moves it, so what is subtracted too much is owed
    by the next readings. It is forgiven after a few: an estimate that is a little too high all
    the time must not eat up what a user moves.
    """

    def __init__(self) -> None:
        self._total = self._moved = self._own = self._debt = self._owing = 0

    def step(self, moved: int, own: int) -> int:
        # counters of another source (sshd, then sockets) start lower: that is no traffic
        fresh = max(0, moved - self._moved) - max(0, own - self._own) - self._debt
        self._moved, self._own = moved, own
        self._total += max(0, fresh)
        self._owing = self._owing + 1 if fresh < 0 else 0
        self._debt = -fresh if 0 < self._owing <= _FORGIVEN_AFTER else 0
        return self._total


def _from_server(path: Path) -> Optional[Dict[str, Optional[int]]]:
    try:
        found = json.loads(path.read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return None
    keys = ("sessions", "rx_bytes", "tx_bytes")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), int) for key in keys):
        return None
    return {key: found[key] for key in keys}
