"""Control plane: images."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.modal.feed import LogLine
from tests.emulators.modal.images import Build, Image
from tests.emulators.modal.world import World, digest, new_id

Metadata = Mapping[str, Any]
RESULT = api_pb2.GenericResult


class Building:
    """Image builds, cached by their definition."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._builds: set[asyncio.Task[None]] = set()

    async def ImageGetOrCreate(self, request: Any, _metadata: Metadata) -> Any:
        world, definition = self._world, request.image
        for base in definition.base_images:
            world.image(base.image_id)
        if request.image.HasField("build_function"):
            raise GRPCError(Status.UNIMPLEMENTED, "the emulator runs no build functions")
        key = digest(definition.SerializeToString(deterministic=True))
        image = world.image_cache.get(key)
        if image is None or image.failure is not None or request.force_build:
            image = Image(new_id("im"), world.clock.now())
            world.images[image.id] = world.image_cache[key] = image
            build = asyncio.ensure_future(Build(world, image, definition).run())
            self._builds.add(build)
            build.add_done_callback(self._builds.discard)
        reply = api_pb2.ImageGetOrCreateResponse(image_id=image.id)
        if image.built.is_set():
            reply.result.CopyFrom(outcome(image))
        return reply

    async def ImageJoinStreaming(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        """The log from ``last_entry_id`` on, then the result."""
        image = self._world.image(request.image_id)
        after = int(request.last_entry_id or -1) + 1
        if not image.built.is_set() or request.include_logs_for_finished:
            async for number, line in image.log.follow(after, request.timeout or None):
                yield api_pb2.ImageJoinStreamingResponse(
                    entry_id=str(number), task_logs=[as_task_log(line)]
                )
        if image.built.is_set():
            yield api_pb2.ImageJoinStreamingResponse(result=outcome(image), eof=True)

    async def ImageFromId(self, request: Any, _metadata: Metadata) -> Any:
        image = self._world.image(request.image_id)
        return api_pb2.ImageFromIdResponse(image_id=image.id)

    async def ImageDelete(self, request: Any, _metadata: Metadata) -> Any:
        image = self._world.image(request.image_id)
        del self._world.images[image.id]
        return Empty()


def outcome(image: Image) -> Any:
    """``GenericResult`` of a finished build."""
    if image.failure is None:
        return RESULT(status=RESULT.GENERIC_STATUS_SUCCESS)
    return RESULT(status=RESULT.GENERIC_STATUS_FAILURE, exception=image.failure)


def as_task_log(line: LogLine) -> Any:
    """``TaskLogs`` of one log line."""
    source: Any = line.source
    return api_pb2.TaskLogs(
        data=line.text,
        timestamp=line.at,
        timestamp_ns=int(line.at * 1e9),
        file_descriptor=source,
        task_state=api_pb2.TASK_STATE_ACTIVE,
    )
