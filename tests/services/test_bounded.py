"""The bounded queue: its bound is kept, its order too, and nobody's place is lost."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from devbox.box.services.bounded import Bounded
from devbox.box.services.problem import Problem, handlers


async def test_at_most_so_many_work_the_others_wait_in_order_or_are_refused() -> None:
    queue = Bounded(2, 3)
    log: list[int] = []
    most = 0

    async def client(number: int) -> str:
        nonlocal most
        try:
            async with queue.turn():
                most = max(most, queue.busy)
                log.append(number)
                await asyncio.sleep(0)
                return "done"
        except Problem as problem:
            assert problem.status == 503
            assert int(problem.headers["Retry-After"]) >= 1
            return "refused"

    answers = await asyncio.gather(*(client(number) for number in range(9)))
    assert answers == ["done"] * 5 + ["refused"] * 4
    assert (log, most, queue.refused) == ([0, 1, 2, 3, 4], 2, 4)
    assert (queue.busy, queue.queued) == (0, 0)


async def test_a_client_that_goes_away_gives_its_place_back_wherever_it_was() -> None:
    queue = Bounded(1, 3)
    begun = asyncio.Event()

    async def work(hold: asyncio.Event) -> None:
        async with queue.turn():
            begun.set()
            await hold.wait()

    hold = asyncio.Event()
    first = asyncio.ensure_future(work(hold))
    await begun.wait()
    waiting = [asyncio.ensure_future(work(hold)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # while it waits
    await asyncio.sleep(0)
    assert queue.queued == 2
    hold.set()
    first.cancel()  # while it works: its place goes to waiting[1]
    await asyncio.sleep(0)
    waiting[1].cancel()  # in the moment its turn comes
    await asyncio.gather(first, *waiting, return_exceptions=True)
    assert not waiting[2].cancelled()
    assert (queue.busy, queue.queued) == (0, 0)


async def test_how_long_to_wait_follows_from_how_long_requests_took() -> None:
    queue = Bounded(2, 8)
    assert queue.retry_after() == 1
    queue._mean, queue.busy = 12.0, 2
    assert queue.retry_after() == 12
    queue._mean = 500.0
    assert queue.retry_after() == 60


def test_a_problem_is_an_answer_and_so_is_any_other_error() -> None:
    def fail(request: Request) -> JSONResponse:
        kind = request.path_params["kind"]
        if kind == "problem":
            raise Problem(400, "image_base64 is no picture", {"X-Why": "bytes"})
        raise KeyError(kind)

    app = Starlette(routes=[Route("/{kind}", fail)], exception_handlers=handlers())
    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/problem")
    assert (answer.status_code, answer.json()) == (400, {"error": "image_base64 is no picture"})
    assert answer.headers["x-why"] == "bytes"
    answer = client.get("/other")
    assert (answer.status_code, answer.json()) == (500, {"error": "KeyError: 'other'"})
    answer = client.post("/problem")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})
    assert client.get("/").status_code == 404


@pytest.mark.parametrize(("in_flight", "waiting"), [(0, 1), (1, -1)])
def test_bounds_that_make_no_sense(in_flight: int, waiting: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Bounded(in_flight, waiting)
