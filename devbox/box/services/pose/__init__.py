"""The pose service.

    GET  /health         {status: warming_up|ready, models: {hmr2, phalp}, device, ready, …}
    POST /pose/hybrid    {image_base64, frame_number, session_id} → one result
    POST /pose/batch     {frames: [{image_base64, frame_number}], session_id} → {results}

A result is what devbox.box.pose.result says. image_base64 is a JPEG, PNG or other picture file,
with or without a "data:image/jpeg;base64," before it. Frames of one session_id (by default all
frames without one) are one sequence: answered in the order of their numbers, held where nobody is
seen, begun again at frame 0. A picture without a frame_number stands alone.

Nobody in the picture is 200 with `keypoints: []`. A failure is never 200: 400 the request or its
picture, 413 too large, 500 the engine, 503 too busy or still loading, with Retry-After. The batch
route has exactly one result for each frame, in order, with null in place of a pose where nobody is,
and `mesh_faces_data` once; where frames failed, each has its `error` and the status is 422.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, AsyncIterator, List, Optional

from devbox.box.arrays import Pixels
from devbox.box.environment import EnvironmentMissing
from devbox.box.pose import coverage, result
from devbox.box.pose.engines import options
from devbox.box.pose.host import Host
from devbox.box.pose.person import Person
from devbox.box.pose.sessions import Sessions
from devbox.box.service import Service
from devbox.box.services.bounded import Bounded
from devbox.box.services.pose import requests
from devbox.box.services.problem import Problem, handlers
from devbox.wire.codec import Json

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response


def create_app(service: Service) -> Starlette:
    """A Starlette app; the engine is loaded behind it."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    server = _Server(service)
    return Starlette(
        routes=[
            Route("/health", server.health, methods=["GET"]),
            Route("/pose/hybrid", server.hybrid, methods=["POST"]),
            Route("/pose/batch", server.batch, methods=["POST"]),
        ],
        exception_handlers=handlers(),
        lifespan=server.lifespan,
    )


class _Server:
    def __init__(self, service: Service) -> None:
        args = service.args
        self._service = service
        self._host = Host(args["engine"], options(args), service.log, service)
        self._queue = Bounded(args["in_flight"], args["queue"])
        numbers = (args[f"{name}_frames"] for name in ("predict", "hold", "backfill"))
        self._limits = coverage.Limits(*numbers)
        self._sessions = Sessions(self._limits, self._host.forget)

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        beginning = asyncio.get_running_loop().run_in_executor(None, self._begin)
        try:
            yield
        finally:
            await beginning
            await asyncio.to_thread(self._host.close)

    def _begin(self) -> None:
        try:
            self._host.begin()
        except (EnvironmentMissing, OSError) as error:
            self._service.fail(str(error))

    async def health(self, _: object) -> Response:
        from starlette.responses import JSONResponse

        ready = self._host.ready
        return JSONResponse(
            {
                "status": "ready" if ready else "warming_up",
                "ready": ready is not None,
                "models": ready.models if ready else {"hmr2": False, "phalp": False},
                "device": ready.device if ready else None,
                "engine": ready.engine if ready else self._service.args["engine"],
                "note": ready.note if ready else "",
                "sessions": len(self._sessions),
                "in_flight": self._queue.busy,
                "waiting": self._queue.queued,
            }
        )

    async def hybrid(self, request: Request) -> Response:
        async with self._queue.turn():
            began = time.monotonic()
            asked, image = await requests.frame(await requests.body(request, requests.MOST_BYTES))
            covered = await self._covered(asked, image)
            took = (time.monotonic() - began) * 1000
            return await _json(self._record(covered, asked, took, faces=True, nobody=[]), 200)

    async def batch(self, request: Request) -> Response:
        async with self._queue.turn():
            content = await requests.body(request, requests.MOST_BATCH_BYTES)
            session, frames = requests.batch(content)
            del content
            found = await self._batch(session, frames)
        failed = [record["frame_number"] for record in found if record["error"]]
        ready = self._host.ready
        answer = {
            "results": found,
            "mesh_faces_data": ready.faces if ready else None,
            "error": f"frames that failed: {', '.join(map(str, failed))}" if failed else "",
        }
        return await _json(answer, 422 if failed else 200)

    async def _covered(self, asked: requests.Frame, image: Pixels) -> coverage.Covered:
        async with self._sessions.turn(asked.session, asked.number) as turn:
            try:
                people = await self._host.look(image, turn.session, asked.number)
            except ValueError as error:
                raise Problem(500, str(error)) from error
            return turn.step(asked.number, people, asked.size)

    async def _batch(self, session: str, frames: List[Json]) -> List[result.Record]:
        """A sequence of its own, with later frames known: gaps are filled from both sides."""
        follow = coverage.Follow(self._limits)
        engine_session = f"batch {id(follow)} {session}"
        steps: List[coverage.Covered] = []
        asked: List[requests.Frame] = []
        times: List[float] = []
        try:
            for number, each in enumerate(frames):
                began = time.monotonic()
                one = requests.Frame(requests.number(each, number), session, (0, 0))
                people: List[Person] = []
                error = ""
                try:
                    one, image = await requests.frame(each, default=number)
                    people = await self._host.look(image, engine_session, number)
                except Problem as problem:
                    if problem.status == 503:
                        raise
                    error = str(problem)
                except ValueError as refused:
                    error = str(refused)
                steps.append(follow.step(one.number, people, one.size, error))
                asked.append(one)
                times.append((time.monotonic() - began) * 1000)
        finally:
            if self._host.ready:
                await self._host.forget(engine_session)
        covered = coverage.backfilled(steps, self._limits)
        return [self._record(*each) for each in zip(covered, asked, times)]

    def _record(
        self,
        covered: coverage.Covered,
        asked: requests.Frame,
        took: float,
        *,
        faces: bool = False,
        nobody: Optional[List[result.Keypoint]] = None,
    ) -> result.Record:
        ready = self._host.ready
        return result.record(
            covered,
            size=asked.size,
            milliseconds=took,
            faces=ready.faces if ready and faces else None,
            session=asked.session,
            nobody=nobody,
        )


async def _json(content: object, status: int) -> Response:
    """Large meshes are written out beside the event loop."""
    from starlette.responses import JSONResponse

    return await asyncio.to_thread(JSONResponse, content, status)
