"""Whether a service is ready, asked of the service itself while its run lives.

It is ready when its health path answers 2xx, and the answer does not say otherwise: `ready` is
false, or there is no `ready` and `status` is one of NOT_YET. Without a health path it is ready when
its port takes a connection. Redirects are not followed.

A service that has been ready is no running job any more: a mark says so, and from then on only its
requests count as use. So does one that is not ready within `start_timeout`.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import suppress
from typing import Tuple

from devbox.box.runs.folder import RunFolder
from devbox.wire.codec import clean
from devbox.wire.jobs import ServiceRequest, ServiceStatus

NOT_YET = ("warming_up", "loading", "starting", "initializing", "not_ready")
_SOON, _LATER = 0.2, 5.0  # seconds between two looks, before it is ready and after
_ANSWER = 5.0  # seconds for its answer
_MOST = 1 << 16  # bytes of an answer that are read


class Watcher:
    """Looks on a thread of its own. `status` is the latest; `port` is told once it is known."""

    def __init__(self, folder: RunFolder, wanted: ServiceRequest) -> None:
        self.status = ServiceStatus()
        self._folder, self._wanted = folder, wanted
        self._until = time.monotonic() + wanted.start_timeout
        self._known, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, port: int) -> None:
        """It listens there, on the box's loopback."""
        if self.status.port is None:
            self.status = self.status._replace(port=port)
            self._known.set()

    def close(self) -> None:
        self._over.set()
        self._known.set()
        self._thread.join(2 * _ANSWER)
        self.status = self.status._replace(ready=False)

    def _run(self) -> None:
        self._known.wait()
        marked = False
        while not self._over.wait(_LATER if self.status.ready else _SOON):
            ready, said = look(self.status.port or 0, self._wanted.health)
            since = self.status.since
            if ready and since is None:
                since = time.time()
            if not marked and (ready or time.monotonic() > self._until):
                with suppress(OSError):
                    self._folder.serving_mark.touch()
                    marked = True
            self.status = self.status._replace(ready=ready, said=said, since=since)


def look(port: int, path: str) -> Tuple[bool, str]:
    """Whether the service at that port is ready, and what it says where it is not."""
    try:
        if not path:
            socket.create_connection(("127.0.0.1", port), _ANSWER).close()
            return True, ""
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER)
        try:
            link.request("GET", path, headers={"Accept": "application/json"})
            answer = link.getresponse()
            status, body = answer.status, answer.read(_MOST)
        finally:
            link.close()
    except ConnectionRefusedError:
        return False, "it does not listen yet"
    except (OSError, http.client.HTTPException) as error:
        return False, clean(f"{path} did not answer: {error or type(error).__name__}", 200)
    if not 200 <= status < 300:
        return False, f"{path} answered {status}"
    return judge(body)


def judge(body: bytes) -> Tuple[bool, str]:
    """Whether the body of a good answer says that it is ready, and what it says otherwise."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return True, ""
    if not isinstance(found, dict):
        return True, ""
    status = str(found.get("status", ""))
    ready = bool(found["ready"]) if "ready" in found else status.lower() not in NOT_YET
    return ready, "" if ready else clean(status or "not ready", 200)
