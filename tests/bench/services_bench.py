"""Services: how much of an engine's pace is left for 32 clients over HTTP.

The engine waits, as for a GPU, so that the other work of the machine falls on neither side. Ours is
a service on a box half, its model in a process of its own behind a bounded queue, asked by 32
clients at once; every answer is held against its request. The peer is the engine in a plain loop.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.rows import Row, ms
from tests.jobs.conftest import BoxHalf, until
from tests.services.conftest import ask

_ITEM, _CLIENTS, _SECONDS, _RUNS = 0.02, 32, 4.0, 3

_ENGINE = f"""
import time
def load(config):
    def engine(request):
        time.sleep({_ITEM})
        return {{"echo": request}}
    return engine
"""
_APP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from devbox.box.services.bounded import Bounded
from devbox.box.services.model import Model
from devbox.box.services.problem import handlers

def create_app(service):
    queue, model = Bounded(2, 64), Model("bench_engine", service=service)
    async def health(request):
        return JSONResponse({"ready": model.is_ready})
    async def work(request):
        async with queue.turn():
            return JSONResponse(await model.call(await request.json()))
    return Starlette(routes=[Route("/health", health), Route("/", work, methods=["POST"])],
                     exception_handlers=handlers())
"""


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME."""
    half = BoxHalf(home, sys.executable)
    os.environ["DEVBOX_BOX_ROOT"] = str(half.root)  # by which `clear` finds what it started
    (half.workdir / "bench_engine.py").write_text(_ENGINE)
    (half.workdir / "bench_service.py").write_text(_APP)
    try:
        half.start("s1", module="bench_service", service={"port": 0})
        until(lambda: (half.file("s1")["service"] or {}).get("ready"))
        url = f"http://127.0.0.1:{half.file('s1')['service']['port']}/"
        pairs = [(_served(url), _looped()) for _ in range(_RUNS)]
    finally:
        half.clear()
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return [
        Row(
            name=f"{_CLIENTS} clients of a service, engine of {ms(_ITEM)}",
            ours=f"{ours:.1f}/s",
            peer=f"engine in a loop {peer:.1f}/s",
            value=f"{ratio:.2f}x",
            goal=">= 0.9x",
            ok=ratio >= 0.9,
        )
    ]


def _served(url: str) -> float:
    """Requests a second. AssertionError for an answer that is wrong or another client's."""
    until_, done = time.monotonic() + _SECONDS, Counter[int]()

    def client(number: int) -> None:
        while time.monotonic() < until_:
            body = {"client": number, "turn": done[number]}
            answer = ask(url, body)
            assert (answer.status, answer.body) == (200, {"echo": body}), answer
            done[number] += 1

    began = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(client, range(_CLIENTS)))
    return done.total() / (time.monotonic() - began)


def _looped() -> float:
    began, done = time.monotonic(), 0
    while time.monotonic() < began + _SECONDS:
        time.sleep(_ITEM)
        done += 1
    return done / (time.monotonic() - began)
