"""The Modal emulator as a context manager for synchronous tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from grpclib import GRPCError, Status
from grpclib.server import Server
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from tests.emulators.common import Calls, Clock, Knobs, LoopThread, Meter
from tests.emulators.common.calls import OnCall
from tests.emulators.modal.account import Account
from tests.emulators.modal.billing import Billing
from tests.emulators.modal.building import Building
from tests.emulators.modal.functions import Deployed, Functions
from tests.emulators.modal.hollow import HollowProcess
from tests.emulators.modal.images import Image
from tests.emulators.modal.logs import Logs
from tests.emulators.modal.router import Router
from tests.emulators.modal.running import Running
from tests.emulators.modal.sandbox import Sandbox
from tests.emulators.modal.service import Service
from tests.emulators.modal.store import Store
from tests.emulators.modal.world import Secret, Stages, World, new_id

CLOSE_LIMIT = 60.0


class ModalEmulator:
    """A Modal workspace on ``127.0.0.1``, for the real client.

    Args:
        clock: emulator time; defaults to the wall clock.
        stages: how long builds, scheduling, stops and snapshots take.
        port: 0 picks a free one.
        list_lag: listings leave out sandboxes younger than this.
        dedupe_retries: a retry with the same idempotency key joins the first
            call (an assumption about Modal); ``False`` makes it a second one.
        strict_builds: a failing RUN fails its build.
        reach: ports of this host's loopback that sandboxes find on theirs,
            for the emulators and servers a box is to talk to.
        hollow: nothing runs in sandboxes; see :mod:`tests.emulators.modal.hollow`.

    Raises:
        RuntimeError: this host cannot isolate sandboxes (needs root, Linux, overlayfs).
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        stages: Stages | None = None,
        port: int = 0,
        list_lag: float = 0.0,
        dedupe_retries: bool = True,
        strict_builds: bool = False,
        reach: Sequence[int] = (),
        workspace: str = "emulated-workspace",
        hollow: bool = False,
    ) -> None:
        self._store = Store(hollow=hollow)
        self.clock = clock or Clock()
        self.world = World(
            clock=self.clock,
            stages=stages or Stages(),
            store=self._store,
            list_lag=list_lag,
            strict_builds=strict_builds,
            reach=reach,
            workspace=workspace,
        )
        self.calls: Calls = self.world.calls
        self.knobs: Knobs = self.world.knobs
        self.meter: Meter = self.world.meter
        self._dedupe = dedupe_retries
        self._port = port

    def __enter__(self) -> ModalEmulator:
        self._thread = LoopThread("modal-emulator")
        try:
            self._server: Server = self._thread.run(self._open(self._port))
        except BaseException:
            self._thread.stop()
            self._store.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.run(self._shut(), CLOSE_LIMIT)
        self._thread.stop()
        self._store.close()

    @property
    def url(self) -> str:
        """For ``MODAL_SERVER_URL``."""
        return self.world.url

    @property
    def sandboxes(self) -> dict[str, Sandbox]:
        """All sandboxes there ever were, by id."""
        return dict(self.world.sandboxes)

    @property
    def images(self) -> dict[str, Image]:
        """All images, by id."""
        return dict(self.world.images)

    @property
    def functions(self) -> dict[str, Deployed]:
        """What apps have published, by "app/function"."""
        world = self.world
        return {
            f"{world.apps[app].name}/{name}": world.functions[function_id]
            for app, layout in world.layouts.items()
            for name, function_id in layout.function_ids.items()
        }

    @property
    def volumes(self) -> dict[str, Path]:
        """The directories of the volumes, by name."""
        return {volume.name: volume.path for volume in self.world.volumes.values()}

    @property
    def full(self) -> set[str]:
        """GPUs of which none is free; put in and taken out by a test."""
        return self.world.full

    @property
    def unexpected(self) -> list[str]:
        """Calls nobody implements and failures of the emulator; a test asserts this is empty."""
        return self.calls.unexpected

    @property
    def on_call(self) -> OnCall | None:
        """A hook ``(rpc, phase)``; see :mod:`tests.emulators.modal.service` for its moments."""
        return self.calls.on_call

    @on_call.setter
    def on_call(self, hook: OnCall | None) -> None:
        self.calls.on_call = hook

    def env(self) -> dict[str, str]:
        """The variables that point the real client, its CLI or devbox here and nowhere else."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-emulated",
            "MODAL_TOKEN_SECRET": "as-emulated",
            "MODAL_CONFIG_PATH": str(self._store.directory / "modal.toml"),
        }

    def add_secret(self, name: str, values: Mapping[str, str]) -> None:
        """A named secret, as if made on the dashboard."""
        secret = Secret(new_id("st"), name, dict(values))
        self.world.secrets[secret.id] = secret

    def advance(self, seconds: float) -> float:
        """Move the clock ahead, firing what falls due; returns the new time."""
        return self.clock.advance(seconds)

    def end(self, sandbox: Sandbox, status: int) -> None:
        """Have it end by itself with that ``GenericStatus``."""

        async def now() -> None:
            sandbox.end(status)

        self._thread.run(now())

    def leave(self, sandbox: Sandbox, code: int = 0) -> None:
        """The main process ends with that code, where nothing really runs in sandboxes."""

        async def work() -> None:
            assert isinstance(sandbox.main, HollowProcess)
            sandbox.main.leave(code)
            await sandbox.done.wait()

        self._thread.run(work())

    def reprice(self, gpu: str, usd_per_hour: float) -> None:
        """Another price for a GPU, in sandboxes that begin from now on."""
        self.world.gpus[gpu] = usd_per_hour * 1e6 / 3600

    def settle(self) -> None:
        """Wait for the boots and ends that timers have begun."""
        if not self.world.begun:
            return

        async def work() -> None:
            while self.world.begun:
                await asyncio.wait(set(self.world.begun))

        self._thread.run(work())

    async def _open(self, port: int) -> Server:
        world = self.world

        def service(base: Any, *rooms: object) -> Service:
            return Service(
                base,
                list(rooms),
                calls=world.calls,
                knobs=world.knobs,
                clock=world.clock,
                authenticate=authenticate,
                dedupe_retries=self._dedupe,
            )

        control = service(
            ModalClientBase,
            *(Account(world), Building(world), Running(world), Logs(world), Billing(world)),
            Functions(world),
        )
        router = service(TaskCommandRouterBase, Router(world))
        server = Server([control, router], status_details_codec=custom_detail_codec)
        await server.start("127.0.0.1", port)
        assert isinstance(server._server, asyncio.Server)
        world.url = f"http://127.0.0.1:{server._server.sockets[0].getsockname()[1]}"
        return server

    async def _shut(self) -> None:
        for sandbox in self.world.sandboxes.values():
            sandbox.end(0)
        await asyncio.gather(*(sandbox.done.wait() for sandbox in self.world.sandboxes.values()))
        self._server.close()
        await asyncio.wait_for(self._server.wait_closed(), CLOSE_LIMIT)


def authenticate(rpc: str, metadata: Mapping[str, Any]) -> None:
    """Any token will do, but there must be one; the second generation wants its own besides.

    Raises:
        GRPCError: UNAUTHENTICATED.
    """
    bearer = "authorization" in metadata
    token = metadata.get("x-modal-token-id") and metadata.get("x-modal-token-secret")
    if not bearer and not token:
        raise GRPCError(Status.UNAUTHENTICATED, "Token missing. Could not authenticate client.")
    if rpc.endswith("V2") and not bearer and "x-modal-auth-token" not in metadata:
        raise GRPCError(Status.UNAUTHENTICATED, f"{rpc} needs x-modal-auth-token")
