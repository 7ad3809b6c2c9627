"""The SHARP service: a photograph in, 3D Gaussians out.

    GET  /             what this is, its routes and limits
    GET  /health       {status: warming_up | ready | failed, ready, model, device, error}
    POST /predict      multipart: file, and where wanted f_px (pixels) and max_gaussians
                       → {"metadata": {…}, "gaussians": {…}}, see devbox.box.jobs.sharp.worker
    POST /predict/ply  multipart: file, f_px → the published PLY of all Gaussians, about 66 MB;
                       the header X-Sharp-Metadata holds the metadata as JSON

400 a request or picture that cannot be read, 413 too large, 500 the model failed, 503 still loading
or too busy, with Retry-After. Every error's body is {"error": text}.
"""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, AsyncIterator, Dict, Optional, Protocol, Tuple

from devbox.box.service import Service
from devbox.box.services.bounded import Bounded
from devbox.box.services.model import Model, NotReady
from devbox.box.services.problem import Problem, handlers

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message

    from devbox.box.jobs.sharp import worker

_WORKER = "devbox.box.jobs.sharp.worker"
_IN_FLIGHT = 2  # one is worked on while the next one's picture arrives
_DRAINED = 8  # times the largest request, that is read from a client whose request is refused


def create_app(service: Service) -> Starlette:
    """A Starlette app; the model is loaded behind it, once."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    server = _Server(service)
    return Starlette(
        routes=[
            Route("/", server.about, methods=["GET"]),
            Route("/health", server.health, methods=["GET"]),
            Route("/predict", server.predict, methods=["POST"]),
            Route("/predict/ply", server.predict_ply, methods=["POST"]),
        ],
        exception_handlers=handlers(),
        lifespan=server.lifespan,
    )


class Predict(Protocol):
    """See `direct`."""

    def __call__(
        self,
        image: bytes,
        f_px: Optional[float] = None,
        kind: str = "json",
        max_gaussians: Optional[int] = None,
    ) -> bytes: ...


def direct(service: Service) -> Predict:
    """predict(image, f_px=None, kind="json", max_gaussians=None): the body that the routes answer,
    for callers without HTTP. image: the bytes of a picture file. ValueError for one that cannot be
    read."""
    from devbox.box.jobs.sharp import worker

    answer = worker.load(_config(service))

    def predict(
        image: bytes,
        f_px: Optional[float] = None,
        kind: str = "json",
        max_gaussians: Optional[int] = None,
    ) -> bytes:
        most = max_gaussians or service.args["max_gaussians"]
        said = answer({"image": image, "f_px": f_px, "kind": kind, "max_gaussians": most})
        if "error" in said:
            raise ValueError(said["error"])
        return said["body"]

    return predict


def _config(service: Service) -> worker.Config:
    return {
        "checkpoint": str(service.checkpoints["sharp"]),
        "device": service.args["device"],
        "focal": service.args["focal"],
    }


class _Server:
    def __init__(self, service: Service) -> None:
        self._args = service.args
        self._service = service
        self._queue = Bounded(_IN_FLIGHT, self._args["queue"])
        self._model: Optional[Model[worker.Answer]] = None

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        self._model = Model(_WORKER, _config(self._service), service=self._service)
        try:
            yield
        finally:
            self._model.close()

    async def about(self, _: object) -> Response:
        from starlette.responses import JSONResponse

        return JSONResponse(
            {
                "service": "sharp",
                "routes": {
                    "GET /health": "whether the model is loaded",
                    "POST /predict": "multipart file, f_px, max_gaussians: Gaussians as JSON",
                    "POST /predict/ply": "multipart file, f_px: the PLY of all of them",
                },
                "focal_without_exif": self._args["focal"],
                "max_gaussians": self._args["max_gaussians"],
                "max_mb": self._args["max_mb"],
            }
        )

    async def health(self, _: object) -> Response:
        from starlette.responses import JSONResponse

        model = self._model
        ready, failed = bool(model and model.is_ready), bool(model and model.state == "failed")
        status = "ready" if ready else "failed" if failed else "warming_up"
        info = model.info if model else {}
        answer = {"status": status, "ready": ready, "model": "sharp", "device": info.get("device")}
        return JSONResponse({**answer, "error": model.error if model and failed else ""})

    async def predict(self, request: Request) -> Response:
        from starlette.responses import Response

        _, body = await self._ask(request, "json")
        return Response(body, media_type="application/json")

    async def predict_ply(self, request: Request) -> Response:
        from starlette.responses import Response

        about, body = await self._ask(request, "ply")
        headers = {
            "Content-Disposition": 'attachment; filename="gaussians.ply"',
            "X-Sharp-Metadata": json.dumps(about),
        }
        return Response(body, media_type="application/octet-stream", headers=headers)

    async def _ask(self, request: Request, kind: str) -> Tuple[Dict[str, object], bytes]:
        body = _Body(request, self._args["max_mb"])
        try:
            async with self._queue.turn():
                if self._model is None or not self._model.is_ready:
                    raise NotReady("the model is not loaded; see GET /health")
                asked = await self._form(request, body, kind)
                answer = await self._model.call(asked)
        except Problem:
            await body.drain()
            raise
        if "error" in answer:
            raise Problem(answer["status"], answer["error"])
        return answer["metadata"], answer["body"]

    async def _form(self, request: Request, body: "_Body", kind: str) -> worker.Request:
        from starlette import requests
        from starlette.exceptions import HTTPException

        try:
            limited = requests.Request(request.scope, body.receive)
            async with limited.form(max_files=1, max_fields=8) as form:
                file = form.get("file")
                if file is None or isinstance(file, str):
                    raise Problem(400, "send the picture as the file of a multipart form: file=@…")
                f_px, most = form.get("f_px"), form.get("max_gaussians")
                return {
                    "kind": kind,
                    "image": await file.read(),
                    "f_px": None if f_px in (None, "") else _positive(f_px, "f_px"),
                    "max_gaussians": min(
                        self._args["max_gaussians"],
                        int(_positive(most, "max_gaussians") if most else 1e9),
                    ),
                }
        except HTTPException as error:
            raise Problem(400, f"the form cannot be read: {error.detail}") from None


class _Body:
    """A request's body, up to a limit. A client that still sends when it is answered would get a
    reset connection in place of the answer, so the rest is read and dropped first."""

    def __init__(self, request: Request, megabytes: int) -> None:
        self._receive = request.receive
        self._most = megabytes * 1_000_000
        self._problem = Problem(413, f"the request has more than {megabytes} MB")
        said = request.headers.get("content-length", "")
        self._came = int(said) if said.isdecimal() and int(said) > self._most else 0
        self._ended = False

    async def receive(self) -> Message:
        """The next message. Problem 413."""
        message = await self._next()
        if self._came > self._most:
            raise self._problem
        return message

    async def drain(self) -> None:
        left = _DRAINED * self._most
        while not self._ended and left > 0:
            left -= len((await self._next()).get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        self._came += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message


def _positive(value: object, name: str) -> float:
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 1):
        raise Problem(400, f"{name} must be a number from 1 on")
    return number
