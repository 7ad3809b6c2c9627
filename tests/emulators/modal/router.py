"""The task command router: commands inside a sandbox, snapshots, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as sr_pb2

from tests.emulators.modal.process import Process, StdinClosedError
from tests.emulators.modal.running import source_env
from tests.emulators.modal.sandbox import Exec, Sandbox
from tests.emulators.modal.world import World

Metadata = Mapping[str, Any]
NO_EXPIRY = -1
DEFAULT_TTL = 30 * 24 * 3600
WAIT_HOLD = 50.0


class Router:
    """Served on the emulator's one port, for all tasks. A finished task is NOT_FOUND."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._snapshots: dict[str, str] = {}

    async def TaskExecStart(self, request: Any, _metadata: Metadata) -> Any:
        if request.HasField("pty_info"):
            raise GRPCError(Status.UNIMPLEMENTED, "the emulator gives commands no terminal")
        sandbox = await self._running(request.task_id)
        env = source_env(self._world, request.secret_sources)
        sandbox.start_exec(
            request.exec_id, request.command_args, env, request.workdir, request.timeout_secs
        )
        return sr_pb2.TaskExecStartResponse()

    async def TaskExecStdioRead(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        process = (await self._exec(request)).process
        wants_stderr = request.file_descriptor == sr_pb2.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR
        output = process.stderr if wants_stderr else process.stdout
        async for _, data in output.read(request.offset):
            yield sr_pb2.TaskExecStdioReadResponse(data=data)

    async def TaskExecWait(self, request: Any, _metadata: Metadata) -> Any:
        """A command that timed out has no exit status: the client's own deadline answers -1."""
        running = await self._exec(request)
        done, _ = await asyncio.wait({running.process.exited}, timeout=WAIT_HOLD)
        if not done or running.timed_out:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "no exit status yet")
        return exit_status(sr_pb2.TaskExecWaitResponse(), running.process)

    async def TaskExecPoll(self, request: Any, _metadata: Metadata) -> Any:
        running = await self._exec(request)
        reply = sr_pb2.TaskExecPollResponse()
        if not running.process.exited.done() or running.timed_out:
            return reply
        return exit_status(reply, running.process)

    async def TaskExecStdinWrite(self, request: Any, _metadata: Metadata) -> Any:
        process = (await self._exec(request)).process
        await feed(process, request.data, request.offset)
        if request.eof:
            process.close_stdin()
        return sr_pb2.TaskExecStdinWriteResponse()

    async def TaskExecStdinWriteStream(self, stream: Any, _metadata: Metadata) -> Any:
        """Start, data, data, ..., end; only the end closes stdin."""
        process: Process | None = None
        offset = 0
        while (message := await stream.recv_message()) is not None:
            if message.HasField("start"):
                process, offset = (await self._exec(message.start)).process, message.start.offset
            elif process is None:
                raise GRPCError(Status.INVALID_ARGUMENT, "the stream must begin with a start")
            elif message.HasField("end"):
                process.close_stdin()
            else:
                await feed(process, message.data, offset)
                offset += len(message.data)
        return sr_pb2.TaskExecStdinWriteStreamResponse()

    async def TaskExecStdinStatus(self, request: Any, _metadata: Metadata) -> Any:
        process = (await self._exec(request)).process
        return sr_pb2.TaskExecStdinStatusResponse(
            num_bytes_written=process.written, closed=process.stdin_closed
        )

    async def TaskSnapshotFilesystem(self, request: Any, _metadata: Metadata) -> Any:
        """Copy what the sandbox changed; the same ``snapshot_id`` again gives the same image."""
        if request.snapshot_id not in self._snapshots:
            sandbox = await self._running(request.task_id)
            await self._world.clock.sleep(self._world.stages.snapshot)
            await sandbox.require_running()
            layer = await sandbox.machine.snapshot()
            now = self._world.clock.now()
            image = sandbox.image.child(now, (layer, *sandbox.machine.layers))
            ttl = request.ttl_seconds if request.HasField("ttl_seconds") else DEFAULT_TTL
            image.expires_at = None if ttl == NO_EXPIRY else now + ttl
            self._world.images[image.id] = image
            self._snapshots[request.snapshot_id] = image.id
        return sr_pb2.TaskSnapshotFilesystemResponse(image_id=self._snapshots[request.snapshot_id])

    async def TaskReloadVolumes(self, request: Any, _metadata: Metadata) -> Any:
        await self._running(request.task_id)  # volumes are one shared directory: always up to date
        return sr_pb2.TaskReloadVolumesResponse()

    async def SandboxStdioReadV2(self, request: Any, _metadata: Metadata) -> AsyncIterator[Any]:
        """The main process's output, also after the end."""
        sandbox = self._world.task(request.task_id)
        if not await sandbox.booted() or sandbox.main is None:
            return
        wants_stderr = request.file_descriptor == sr_pb2.SANDBOX_STDIO_FILE_DESCRIPTOR_STDERR
        output = sandbox.main.stderr if wants_stderr else sandbox.main.stdout
        async for offset, data in output.read(request.offset):
            yield sr_pb2.SandboxStdioReadV2Response(data=data, starting_offset=offset)

    async def SandboxStdinWriteV2(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = await self._running(request.task_id)
        assert sandbox.main is not None
        with sandbox.activity():
            await feed(sandbox.main, request.data, request.offset)
        if request.eof:
            sandbox.main.close_stdin()
        return sr_pb2.SandboxStdinWriteV2Response()

    async def SandboxWaitUntilReady(self, request: Any, _metadata: Metadata) -> Any:
        """Try the readiness probe until it succeeds; without one a sandbox is ready at once."""
        sandbox = await self._running(request.task_id)
        probe = sandbox.definition.readiness_probe
        try:
            async with asyncio.timeout(request.timeout or None):
                while not await probed(sandbox, probe):
                    await sandbox.require_running()
                    await asyncio.sleep((probe.interval_ms or 100) / 1000)
        except TimeoutError:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the sandbox did not get ready") from None
        return sr_pb2.SandboxWaitUntilReadyTcrResponse(ready_at=self._world.clock.now())

    async def _running(self, task_id: str) -> Sandbox:
        sandbox = self._world.task(task_id)
        await sandbox.require_running()
        return sandbox

    async def _exec(self, request: Any) -> Exec:
        sandbox = await self._running(request.task_id)
        running = sandbox.execs.get(request.exec_id)
        if running is None:
            raise GRPCError(Status.NOT_FOUND, f"Exec '{request.exec_id}' not found")
        return running


async def probed(sandbox: Sandbox, probe: Any) -> bool:
    """Whether the sandbox passes its probe now."""
    kind = probe.WhichOneof("probe_oneof")
    if kind is None:
        return True
    if kind == "tcp_port":
        try:
            (await sandbox.machine.connect(probe.tcp_port)).close()
        except OSError:
            return False
        return True
    return await sandbox.spawn(list(probe.exec_command.argv)).exited == 0


async def feed(process: Process, data: bytes, offset: int) -> None:
    """Write to stdin; a process that no longer reads is a conflict, as at Modal."""
    try:
        await process.write(data, offset)
    except StdinClosedError:
        raise GRPCError(Status.FAILED_PRECONDITION, "stdin is closed") from None


def exit_status(reply: Any, process: Process) -> Any:
    """Fill in ``code`` or ``signal``."""
    code = process.exited.result()
    if code < 0:
        reply.signal = -code
    else:
        reply.code = code
    return reply
