"""The device API that a ZeroGPU Space talks to: who may use a GPU, and for how long.

    with ZeroGPU(slots=2) as api:
        environment = {"SPACES_ZERO_GPU": "1", "SPACES_ZERO_DEVICE_API_URL": api.url}

Holds what the real service is known to hold: a lease from /schedule until /release, one GPU slot
for each, `idle` when the function's last lease on that GPU ended well, and a queue that ends
without a GPU when every slot is taken (without the minute's wait).
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


@dataclass
class Lease:
    """state: granted, released or failed. pid: of the process that /allow named."""

    token: str
    task: str
    slot: int
    seconds: int | None
    size: str | None
    pid: int | None = None
    state: str = "granted"


class ZeroGPU:
    """reports: how often the Space said that it has started. Set `cold` and the next reply to
    /schedule is not idle: the function's worker cannot be used again. Each slot is a share of one
    and the same GPU, as on a Space, so its index is always 0."""

    def __init__(self, slots: int = 1) -> None:
        self.leases: list[Lease] = []
        self.reports = 0
        self.cold = False
        self._slots = slots
        self._warm: set[str] = set()
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # /-/leases: how many there ever were, for a test's process
                self._send(200, "text/plain", str(len(api.leases)).encode())

            def do_POST(self) -> None:
                split = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(split.query).items()}
                self._send(*api._answer(split.path, query))

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Tests look at `leases`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ZeroGPU:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def held(self) -> list[Lease]:
        """Leases that nobody has given back."""
        return [lease for lease in self.leases if lease.state == "granted"]

    def _answer(self, path: str, query: dict[str, str]) -> tuple[int, str, bytes]:
        with self._lock:
            if path == "/startup-report":
                self.reports += 1
                return 200, "application/json", b"{}"
            if path == "/schedule":
                return self._schedule(query)
            if path == "/-/cold":  # a knob for the process under test, not of the real service
                self.cold = True
                return 200, "application/json", b"{}"
            lease = next((one for one in self.held if one.token == query.get("allowToken")), None)
            if lease is None or path not in ("/allow", "/release"):
                return 404, "application/json", b"{}"
            if path == "/allow":
                lease.pid = int(query["pid"])
                return 200, "application/json", b"{}"
            failed = query["fail"].lower() == "true"
            lease.state = "failed" if failed else "released"
            (self._warm.discard if failed else self._warm.add)(lease.task)
            return 200, "application/json", b"{}"

    def _schedule(self, query: dict[str, str]) -> tuple[int, str, bytes]:
        if "cgroupPath" not in query or query.get("tokenVersion") != "2":
            return 422, "application/json", b"{}"
        free = set(range(self._slots)) - {lease.slot for lease in self.held}
        if not free:
            return 200, "text/event-stream", b"event: failed\n\n"
        task = query["taskId"]
        seconds = query.get("durationSeconds")
        lease = Lease(
            token=f"allow-{len(self.leases)}",
            task=task,
            slot=min(free),
            seconds=None if seconds is None else int(seconds),
            size=query.get("gpuSize"),
        )
        self.leases.append(lease)
        idle = task in self._warm and not self.cold
        self.cold = False
        reply = {"idle": idle, "nvidiaIndex": 0, "nvidiaUUID": "MIG-0", "allowToken": lease.token}
        return 200, "application/json", json.dumps(reply).encode()
