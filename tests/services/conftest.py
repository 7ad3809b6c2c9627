"""A box half that is a folder, and a small service on it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.jobs.conftest import BoxHalf, box, one_box, until

__all__ = ["box", "one_box"]

ECHO = """
import asyncio, json, os
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from devbox.box.services.bounded import Bounded
from devbox.box.services.problem import handlers

def create_app(service):
    queue = Bounded(2, service.args.get("waiting", 64))
    gate = Path(service.args.get("gate", "/"))
    service.log("echo is here")

    async def health(request):
        if not Path(service.args.get("warm", "/")).exists():
            return JSONResponse({"status": "warming_up", "ready": False})
        return JSONResponse({"status": "ready", "ready": True, "pid": os.getpid(),
                             "refused": queue.refused, "busy": queue.busy, "queued": queue.queued})

    async def echo(request):
        async with queue.turn():
            body = await request.json()
            assert queue.busy <= 2
            while body.get("hold") and not gate.exists():
                await asyncio.sleep(0.01)
            if body.get("fail"):
                service.fail("the model is broken")
            await asyncio.sleep(0)
            return JSONResponse({"echo": body})

    return Starlette(routes=[Route("/health", health), Route("/echo", echo, methods=["POST"])],
                     exception_handlers=handlers())
"""


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


def ask(url: str, body: Any = None, *, token: str = "", timeout: float = 30.0) -> Answer:
    """A request to a service; POST where there is a body. OSError when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Answer(answer.status, json.loads(answer.read() or b"null"), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, json.loads(error.read() or b"null"), dict(error.headers))


class EchoService:
    """The echo service, run on a box half."""

    def __init__(self, box: BoxHalf) -> None:
        self.box = box
        (box.workdir / "echo_service.py").write_text(ECHO)

    def start(self, run_id: str = "s1", **fields: Any) -> str:
        """Its URL, once it is ready."""
        self.box.start(run_id, **{"module": "echo_service", "service": {"port": 0}, **fields})
        until(lambda: self.state(run_id)["ready"])
        return f"http://127.0.0.1:{self.state(run_id)['port']}"

    def state(self, run_id: str = "s1") -> dict[str, Any]:
        """What the run's status says of the service."""
        status = self.box.file(run_id)
        assert status["state"] == "running", (status["message"], self.box.log(run_id))
        return dict(status["service"] or {"ready": False})

    def served(self, run_id: str = "s1") -> dict[str, Any]:
        return dict(json.loads((self.box.root / "served" / f"{run_id}.json").read_text()))

    def is_job(self, run_id: str = "s1") -> bool:
        """Whether it holds the box up as a running job does."""
        return not (self.box.root / "serving" / run_id).exists()


@pytest.fixture
def echo(one_box: BoxHalf) -> EchoService:
    return EchoService(one_box)


@pytest.fixture
def gate(home: Path) -> Path:
    """A file that the echo service waits for."""
    return home / "gate"
