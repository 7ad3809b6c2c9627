"""Control plane: what sandboxes wrote, streamed and looked up."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from modal_proto import api_pb2

from tests.emulators.modal.building import as_task_log
from tests.emulators.modal.feed import STDERR, STDOUT, LogLine
from tests.emulators.modal.sandbox import Sandbox
from tests.emulators.modal.world import World

Metadata = Mapping[str, Any]


class Logs:
    """Entries are numbered per sandbox; an entry id is that number."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def SandboxGetLogs(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        """One stream of one sandbox from ``last_entry_id`` on, for at most ``timeout`` seconds."""
        sandbox = self._world.sandbox(request.sandbox_id)
        last = int(request.last_entry_id or -1)
        async for number, line in sandbox.log.follow(last + 1, request.timeout or None):
            last = number
            if request.file_descriptor in (0, line.source):
                yield batch(sandbox, number, line)
        if sandbox.log.ended:
            yield api_pb2.TaskLogsBatch(entry_id=str(last), eof=True)

    async def AppGetLogs(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        """New entries of one task (the only filter a sandbox's log stream uses)."""
        sandbox = self._world.task(request.task_id)
        last = int(request.last_entry_id or -1)
        async for number, line in sandbox.log.follow(last + 1, request.timeout or None):
            last = number
            if request.file_descriptor in (0, line.source):
                yield batch(sandbox, number, line)
        if sandbox.log.ended:
            yield api_pb2.TaskLogsBatch(entry_id=str(last), app_done=True)

    async def AppFetchLogs(self, request: Any, _metadata: Metadata) -> Any:
        """The newest ``limit`` entries of a range, in order."""
        chosen = list(self._select(request))
        newest = chosen[-request.limit :] if request.limit else chosen
        reply = api_pb2.AppFetchLogsResponse()
        reply.batches.extend(batch(sandbox, 0, line) for sandbox, line in newest)
        return reply

    async def AppCountLogs(self, request: Any, _metadata: Metadata) -> Any:
        """How many entries fall into each bucket of ``bucket_secs``, empty ones included."""
        width = request.bucket_secs or 60
        first = math.floor(seconds(request.since) / width)
        count = max(1, math.ceil(seconds(request.until) / width) - first)
        reply = api_pb2.AppCountLogsResponse(app_id=request.app_id)
        for number in range(count):
            reply.buckets.add().bucket_start_at.seconds = (first + number) * width
        for _, line in self._select(request):
            bucket = reply.buckets[math.floor(line.at / width) - first]
            if line.source == STDOUT:
                bucket.stdout_logs += 1
            elif line.source == STDERR:
                bucket.stderr_logs += 1
            else:
                bucket.system_logs += 1
        return reply

    def _select(self, request: Any) -> Iterator[tuple[Sandbox, LogLine]]:
        every = [
            (sandbox, line)
            for sandbox in self._world.sandboxes.values()
            if sandbox.app.id == request.app_id and request.task_id in ("", sandbox.task_id)
            for line in sandbox.log.items
        ]
        since, until = seconds(request.since), seconds(request.until)
        for sandbox, line in sorted(every, key=lambda pair: pair[1].at):
            fits = since <= line.at < until and request.search_text in line.text
            if fits and request.source in (0, line.source):
                yield sandbox, line


def batch(sandbox: Sandbox, number: int, line: LogLine) -> Any:
    """``TaskLogsBatch`` of one entry."""
    return api_pb2.TaskLogsBatch(
        task_id=sandbox.task_id,
        entry_id=str(number),
        items=[as_task_log(line)],
        sandbox_id=sandbox.id,
    )


def seconds(stamp: Any) -> float:
    """A protobuf timestamp as seconds since the epoch."""
    return float(stamp.seconds + stamp.nanos / 1e9)
