"""The pose service on a port of the loopback, in this process, and a plain client of it."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import numpy as np
import uvicorn

from devbox.box.service import Service
from devbox.box.services import pose

ARGS: dict[str, Any] = {
    **{"engine": "fake", "predict_frames": 10, "hold_frames": 50, "backfill_frames": 20},
    **{"in_flight": 2, "queue": 16, "min_size": 40},
    **{"weights": "~/checkpoints/4DHumans", "hashes": "weights.sha256"},
}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]
    headers: dict[str, str]


class Client:
    """Each call has a connection of its own, so it may be used by any number of threads."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None)

    def post(self, path: str, content: Any) -> Answer:
        """content: bytes as they are, anything else as JSON."""
        return self._ask("POST", path, content)

    def hybrid(self, grey: int = 0, frame: int | None = 0, **more: Any) -> Answer:
        number = {} if frame is None else {"frame_number": frame}
        return self.post("/pose/hybrid", {"image_base64": picture(grey), **number, **more})

    def _ask(self, method: str, path: str, content: Any) -> Answer:
        data = content if isinstance(content, bytes) or content is None else json.dumps(content)
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=180)
        try:
            link.request(method, path, data)
            answer = link.getresponse()
            return Answer(answer.status, json.loads(answer.read()), dict(answer.getheaders()))
        finally:
            link.close()


@functools.cache
def picture(grey: int, suffix: str = ".png", size: tuple[int, int] = (160, 120)) -> str:
    """A picture file of one grey, as base64."""
    image = np.full((size[1], size[0], 3), grey, np.uint8)
    return base64.b64encode(cv2.imencode(suffix, image)[1].tobytes()).decode()


@contextmanager
def serving(*, ready: bool = True, **args: Any) -> Iterator[Client]:
    service = Service(args={**ARGS, **args})
    config = uvicorn.Config(pose.create_app(service), port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 180
        while not server.started and time.monotonic() < until:
            thread.join(0.01)
        client = Client(server.servers[0].sockets[0].getsockname()[1])
        while ready and not client.get("/health").body["ready"]:
            assert not service.failed, service.failed
            assert time.monotonic() < until
            thread.join(0.02)
        yield client
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
