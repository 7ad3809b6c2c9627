"""Control plane: sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.common import FaultKind
from tests.emulators.modal import prices
from tests.emulators.modal.account import unsigned_jwt
from tests.emulators.modal.process import StdinClosedError
from tests.emulators.modal.sandbox import Sandbox
from tests.emulators.modal.world import World, found

Metadata = Mapping[str, Any]
RESULT = api_pb2.GenericResult
LONGEST_LIFE = 24 * 3600
PAGE = 100
TASK_ID_HOLD = 0.4


class Running:
    """Sandboxes of both generations: a ``V2`` call without its own method lands on its twin."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mount_layers: dict[str, str] = {}

    async def SandboxCreate(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._create(request, self._secret_env(request.definition.secret_ids), v2=False)
        return api_pb2.SandboxCreateResponse(
            sandbox_id=sandbox.id, metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.app.id)
        )

    async def SandboxCreateV2(self, request: Any, _metadata: Metadata) -> Any:
        if prices.gpu_name(request.definition.resources):
            raise GRPCError(Status.INVALID_ARGUMENT, "V2 sandboxes have no GPUs")
        env = self._secret_env(request.definition.secret_ids)
        env |= source_env(self._world, request.secret_sources)
        sandbox = self._create(request, env, v2=True)
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.app.id),
            command_router_access=api_pb2.CommandRouterAccess(**self._access(sandbox)),
        )

    async def SandboxGetTaskId(self, request: Any, _metadata: Metadata) -> Any:
        """Held for a moment while it boots, which spares the client its poll interval."""
        sandbox = self._world.sandbox(request.sandbox_id)
        await sandbox.booted(request.timeout or TASK_ID_HOLD)
        reply = api_pb2.SandboxGetTaskIdResponse()
        if sandbox.scheduled:
            reply.task_id = sandbox.task_id
        if sandbox.result is not None:
            reply.task_result.CopyFrom(sandbox.result)
        return reply

    async def SandboxGetTunnels(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        ready = await sandbox.booted(request.timeout or 50.0)
        if sandbox.result is not None:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox '{sandbox.id}' has terminated")
        if not ready:
            late = RESULT(status=RESULT.GENERIC_STATUS_TIMEOUT)
            return api_pb2.SandboxGetTunnelsResponse(result=late)
        reply = api_pb2.SandboxGetTunnelsResponse()
        for tunnel in sandbox.tunnels.values():
            data = reply.tunnels.add(container_port=tunnel.container_port)
            data.host, data.port = "127.0.0.1", tunnel.port
            if tunnel.unencrypted:
                data.unencrypted_host, data.unencrypted_port = "127.0.0.1", tunnel.port
        return reply

    async def SandboxWait(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        if request.timeout > 0 and sandbox.result is None:
            with suppress(TimeoutError):  # an empty result says: still running
                await asyncio.wait_for(sandbox.done.wait(), request.timeout)
        metadata = api_pb2.SandboxHandleMetadata(app_id=sandbox.app.id)
        return api_pb2.SandboxWaitResponse(result=sandbox.result, metadata=metadata)

    async def SandboxTerminate(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        reply = api_pb2.SandboxTerminateResponse()
        if sandbox.result is not None:
            reply.existing_result.CopyFrom(sandbox.result)
        elif self._world.knobs.take("SandboxTerminate", FaultKind.STOP_IGNORED) is None:
            sandbox.terminate()
        return reply

    async def SandboxList(self, request: Any, metadata: Metadata) -> Any:
        """Newest first, ``PAGE`` at a time. What is younger than the list lag is not in it yet."""
        world = self._world
        fault = world.knobs.take("SandboxListV2", FaultKind.LIST_LAG)
        newest = world.clock.now() - (world.list_lag if fault is None else fault.seconds)
        wanted = {tag.tag_name: tag.tag_value for tag in request.tags}
        matching = [
            each
            for each in world.sandboxes.values()
            if (request.include_finished or each.result is None)
            and request.app_id in ("", each.app.id)
            and request.environment_name in ("", each.app.environment)
            and wanted.items() <= each.tags.items()
            and (not request.before_timestamp or each.created_at < request.before_timestamp)
            and (each.created_at <= newest or newest >= world.clock.now())
        ]
        matching.sort(key=lambda each: each.created_at, reverse=True)
        return api_pb2.SandboxListResponse(sandboxes=[describe(each) for each in matching[:PAGE]])

    async def SandboxGetFromName(self, request: Any, _metadata: Metadata) -> Any:
        return self._from_name(request, v2=False)

    async def SandboxGetFromNameV2(self, request: Any, _metadata: Metadata) -> Any:
        return self._from_name(request, v2=True)

    async def SandboxTagsSet(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    async def SandboxTagsGet(self, request: Any, _metadata: Metadata) -> Any:
        tags = self._world.sandbox(request.sandbox_id).tags
        return api_pb2.SandboxTagsGetResponse(tags=tag_protos(tags))

    async def SandboxStdinWrite(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        await sandbox.require_running()
        assert sandbox.main is not None
        with sandbox.activity():
            try:
                await sandbox.main.write(request.input)
            except StdinClosedError:
                raise GRPCError(Status.FAILED_PRECONDITION, "stdin is closed") from None
        if request.eof:
            sandbox.main.close_stdin()
        return api_pb2.SandboxStdinWriteResponse()

    async def SandboxGetExitSnapshot(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.sandbox(request.sandbox_id)
        if not sandbox.keeps_files:
            raise GRPCError(Status.INVALID_ARGUMENT, "exit snapshot is not enabled")
        if sandbox.result is None and request.timeout > 0:
            await asyncio.wait(
                {asyncio.ensure_future(sandbox.done.wait())}, timeout=request.timeout
            )
        reply = api_pb2.SandboxGetExitSnapshotResponse()
        if sandbox.result is None:
            reply.pending.SetInParent()
        elif sandbox.exit_error:
            reply.error.message = "emulated exit snapshot error"
            reply.error.error_code = sandbox.exit_error
        elif sandbox.exit_image:
            reply.success.image_id = sandbox.exit_image
        else:
            reply.error.message = "no container ran"
            reply.error.error_code = reply.ERROR_CODE_TIMEOUT
        return reply

    async def TaskGetCommandRouterAccess(self, request: Any, _metadata: Metadata) -> Any:
        sandbox = self._world.task(request.task_id)
        if sandbox.result is not None:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Task '{request.task_id}' has finished")
        return api_pb2.TaskGetCommandRouterAccessResponse(**self._access(sandbox))

    async def SandboxGetCommandRouterAccess(self, request: Any, _metadata: Metadata) -> Any:
        """Also for a finished sandbox: its output can still be read through the router."""
        world = self._world
        by_task = bool(request.task_id)
        sandbox = world.task(request.task_id) if by_task else world.sandbox(request.sandbox_id)
        return api_pb2.SandboxGetCommandRouterAccessResponse(**self._access(sandbox))

    def _create(self, request: Any, env: dict[str, str], *, v2: bool) -> Sandbox:
        world, definition = self._world, request.definition
        app, image = world.app(request.app_id), world.image(definition.image_id)
        self._check(definition, app.id)
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        layers = [self._mount_layer(mount_id) for mount_id in reversed(definition.mount_ids)]
        sandbox = Sandbox(world, app, image, definition, tags=tags, env=env, layers=layers, v2=v2)
        world.sandboxes[sandbox.id] = sandbox
        return sandbox

    def _check(self, definition: Any, app_id: str) -> None:
        if definition.timeout_secs > LONGEST_LIFE:
            raise GRPCError(Status.INVALID_ARGUMENT, "timeout must be at most 24 hours")
        if definition.HasField("pty_info"):
            raise GRPCError(Status.UNIMPLEMENTED, "the emulator gives sandboxes no terminal")
        try:
            prices.gpu_name(definition.resources)
        except KeyError as unknown:
            raise GRPCError(Status.INVALID_ARGUMENT, f"Invalid GPU type: {unknown}") from None
        for mount in definition.volume_mounts:
            found(self._world.volumes, mount.volume_id, "Volume")
        for other in self._world.sandboxes.values():
            same = definition.name and (other.name, other.app.id) == (definition.name, app_id)
            if same and other.result is None:
                raise GRPCError(
                    Status.ALREADY_EXISTS,
                    f"Sandbox with name '{definition.name}' already exists in the app",
                )

    def _mount_layer(self, mount_id: str) -> str:
        """The files of a mount as a layer, written once."""
        if mount_id not in self._mount_layers:
            files, store = found(self._world.mounts, mount_id, "Mount"), self._world.store
            name = store.new_layer()
            for filename, file in files.items():
                path = store.directory / name / filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.content)
                path.chmod(file.mode)
            self._mount_layers[mount_id] = name
        return self._mount_layers[mount_id]

    def _secret_env(self, secret_ids: Any) -> dict[str, str]:
        env: dict[str, str] = {}
        for secret_id in secret_ids:
            env |= found(self._world.secrets, secret_id, "Secret").values
        return env

    def _access(self, sandbox: Sandbox) -> dict[str, str]:
        return {"url": self._world.url, "jwt": unsigned_jwt(sandbox.task_id)}

    def _from_name(self, request: Any, *, v2: bool) -> Any:
        matching = [
            each
            for each in self._world.sandboxes.values()
            if each.v2 is v2
            and each.name == request.sandbox_name
            and each.app.name == request.app_name
            and request.environment_name in ("", each.app.environment)
            and (each.result is None or request.include_terminated)
        ]
        if not matching:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox '{request.sandbox_name}' not found")
        sandbox = max(matching, key=lambda each: (each.result is None, each.created_at))
        return api_pb2.SandboxGetFromNameResponse(
            sandbox_id=sandbox.id, metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.app.id)
        )


def source_env(world: World, sources: Any) -> dict[str, str]:
    """The variables of ``SecretSource`` messages, later ones winning."""
    env: dict[str, str] = {}
    for source in sources:
        if source.secret_id:
            env |= found(world.secrets, source.secret_id, "Secret").values
        env |= dict(source.env.contents)
    return env


def tag_protos(tags: Mapping[str, str]) -> list[Any]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in tags.items()]


def describe(sandbox: Sandbox) -> Any:
    """``SandboxInfo`` of a listing."""
    task = api_pb2.TaskInfo(
        id=sandbox.task_id if sandbox.scheduled else "",
        started_at=sandbox.started_at or 0.0,
        finished_at=sandbox.finished_at or 0.0,
        result=sandbox.result,
        enqueued_at=sandbox.created_at,
        sandbox_id=sandbox.id,
    )
    return api_pb2.SandboxInfo(
        id=sandbox.id,
        created_at=sandbox.created_at,
        task_info=task,
        app_id=sandbox.app.id,
        tags=tag_protos(sandbox.tags),
        name=sandbox.name,
        image_id=sandbox.image.id,
        timeout_secs=sandbox.definition.timeout_secs,
        idle_timeout_secs=sandbox.definition.idle_timeout_secs or None,
        metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.app.id),
    )
