"""One sandbox from its creation to its result."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.emulators.common import Timer
from tests.emulators.modal import prices
from tests.emulators.modal.feed import STDERR, STDOUT, Feed, LogLine
from tests.emulators.modal.hollow import machine
from tests.emulators.modal.images import Image
from tests.emulators.modal.machine import Bind
from tests.emulators.modal.process import OnData, Process
from tests.emulators.modal.tunnels import Opening, Tunnel
from tests.emulators.modal.world import V1_LENGTH, V2_LENGTH, App, World, new_id

FOREVER = ["sleep", str(48 * 3600)]
BOOT_LIMIT = 55.0
EXIT_SNAPSHOT_LIFE = 30 * 24 * 3600
RESULT = api_pb2.GenericResult


@dataclass
class Exec:
    """A command started through the task command router."""

    process: Process
    timed_out: bool = False


class Sandbox:
    """A machine, its main process and its clocks.

    Pending until scheduled, then running and billed until its main process
    exits, a timeout falls due or it is terminated; then ``result`` is set.
    """

    def __init__(
        self,
        world: World,
        app: App,
        image: Image,
        definition: Any,
        *,
        tags: Mapping[str, str],
        env: Mapping[str, str],
        layers: Sequence[str],
        v2: bool,
    ) -> None:
        self._world = world
        self.id = new_id("sb", V2_LENGTH if v2 else V1_LENGTH)
        self.task_id = new_id("ta", V1_LENGTH - 1) + ("V" if v2 else "a")
        self.app = app
        self.image = image
        self.definition = definition
        self.name: str = definition.name
        self.tags = dict(tags)
        self.v2 = v2
        self.created_at = world.moment()
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.result: Any = None
        self.exit_image = ""
        """The image of its files at the end, when it was created with exit snapshots."""
        self.exit_error: Any = 0
        """Knob: an ``ErrorCode`` that is answered instead of the exit snapshot, while it is set."""
        self.log: Feed[LogLine] = Feed()
        self.shares: dict[str, float] = {}
        """Micro-USD per second by resource, as they were when it began to be billed."""
        self.execs: dict[str, Exec] = {}
        self.tunnels: dict[int, Tunnel] = {}
        self._openings: list[Opening] = []
        self.main: Process | None = None
        self.machine = machine(world.store, [*layers, *image.layers], "modal", self._binds())
        self.done = asyncio.Event()
        self._booted = asyncio.Event()
        self.env = {**image.env, **self._own_env(), **env}
        self._ending = False
        self._boot: asyncio.Task[None] | None = None
        self._winding_down: asyncio.Task[None] | None = None
        self.busy = 0
        """How many commands, tunnel connections and writes the idle timeout counts as use now."""
        self._idle_timer: Timer | None = None
        self._timers = [world.clock.call_at(self._now() + world.stages.scheduling, self._begin)]
        self._watch_idle()

    @property
    def state(self) -> str:
        """``pending``, ``running`` or ``finished``."""
        if self.result is not None:
            return "finished"
        return "pending" if self.started_at is None else "running"

    @property
    def root(self) -> Path:
        """The sandbox's ``/`` as seen from this host while it runs."""
        return self.machine.root

    @property
    def scheduled(self) -> bool:
        """Whether a task exists; it continues existing after the end."""
        return self._booted.is_set()

    @property
    def keeps_files(self) -> bool:
        """Whether it was created with ``enable_exit_snapshot``."""
        return bool(self.definition.experimental_options_v2.get("enable_exit_snapshot") == "True")

    async def booted(self, limit: float = BOOT_LIMIT) -> bool:
        """Wait (wall time) until commands can run; false when that did not happen. A hollow one is
        not waited for: its time stands still meanwhile."""
        if self._booted.is_set() or self.result is not None or self._world.store.hollow:
            return self._booted.is_set()
        waits = [asyncio.ensure_future(each.wait()) for each in (self._booted, self.done)]
        await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self._booted.is_set()

    async def require_running(self) -> None:
        """Wait for the boot.

        Raises:
            GRPCError: NOT_FOUND once it has ended.
        """
        await self.booted()
        if self._ending or not self._booted.is_set():
            raise GRPCError(Status.NOT_FOUND, f"Task '{self.task_id}' is not running")

    def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        directory: str = "",
        on_stdout: OnData | None = None,
        on_stderr: OnData | None = None,
    ) -> Process:
        """Run a command in it, in the image's directory unless told otherwise."""
        where = directory or self.definition.workdir or self.image.directory or "/"
        return self.machine.spawn(argv, {**self.env, **(env or {})}, where, on_stdout, on_stderr)

    def start_exec(
        self,
        exec_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        directory: str,
        timeout: int,
    ) -> None:
        """Start a command under the client's id; the same id again does nothing."""
        if exec_id in self.execs:
            return
        running = Exec(self.spawn(argv, env, directory))
        self.execs[exec_id] = running
        if timeout:
            due = self._now() + timeout
            self._timers.append(self._world.clock.call_at(due, lambda: self._expire(running)))
        self.busy += 1
        running.process.exited.add_done_callback(lambda _: self._leave())

    def terminate(self) -> None:
        """Accept a stop; it takes effect after the stopping stage."""
        if not self._ending:
            due = self._now() + self._world.stages.stopping
            self._timers.append(
                self._world.clock.call_at(due, lambda: self.end(RESULT.GENERIC_STATUS_TERMINATED))
            )

    def end(self, status: Any, exitcode: int = 0, exception: str = "") -> None:
        """Stop billing now, then take everything down. Only the first call counts."""
        if self._ending:
            return
        self._ending = True
        self._world.meter.stop(self.id)
        self.finished_at = self._now()
        for timer in (*self._timers, self._idle_timer):
            if timer is not None:
                timer.cancel()
        result = RESULT(status=status, exitcode=exitcode, exception=exception)
        self._winding_down = self._world.begin(self._wind_down(result))

    @contextmanager
    def activity(self) -> Iterator[None]:
        """What the idle timeout counts as use."""
        self.busy += 1
        try:
            yield
        finally:
            self._leave()

    def _begin(self) -> None:
        if self._ending:
            return
        now = self._now()
        gpu = prices.gpu_name(self.definition.resources) or "cpu"
        if gpu in self._world.full:
            due = now + max(self._world.stages.scheduling, self._world.stages.queue)
            self._timers.append(self._world.clock.call_at(due, self._begin))
            return
        self.started_at = now
        self.shares = prices.by_resource(self.definition, self._world.gpus)
        self._world.meter.start(self.id, sum(self.shares.values()), gpu)
        due = now + self.definition.timeout_secs
        timed_out = RESULT.GENERIC_STATUS_TIMEOUT
        self._timers.append(self._world.clock.call_at(due, lambda: self.end(timed_out)))
        self._boot = self._world.begin(self._boot_up())

    async def _boot_up(self) -> None:
        try:
            await self.machine.start()
            for spec in self.definition.open_ports.ports:
                tunnel = Tunnel(self.machine, spec.port, spec.unencrypted, self.activity)
                await tunnel.open()
                self.tunnels[spec.port] = tunnel
            for port in self._world.reach:
                opening = Opening(self.machine, port)
                await opening.open()
                self._openings.append(opening)
        except (RuntimeError, OSError) as error:
            self._world.calls.record_unexpected(f"sandbox {self.id}: {error}")
            self.end(RESULT.GENERIC_STATUS_INIT_FAILURE, exception=str(error))
            return
        arguments = list(self.definition.entrypoint_args) or self.image.cmd
        argv = [*self.image.entrypoint, *arguments] or FOREVER
        stdout, stderr = self._logger(STDOUT), self._logger(STDERR)
        self.main = self.spawn(argv, on_stdout=stdout, on_stderr=stderr)
        self.main.exited.add_done_callback(self._main_exited)
        self._booted.set()
        self._world.on_boot(self.id)

    def _main_exited(self, exited: asyncio.Future[int]) -> None:
        code = exited.result()
        if code == 0:
            self.end(RESULT.GENERIC_STATUS_SUCCESS)
        else:
            self.end(RESULT.GENERIC_STATUS_FAILURE, exitcode=code if code > 0 else 128 - code)

    async def _wind_down(self, result: Any) -> None:
        if self._boot is not None:
            await self._boot
        for relay in (*self.tunnels.values(), *self._openings):
            relay.close()
        if self.keeps_files and self._booted.is_set():
            self.exit_image = await self._exit_snapshot()
        await self.machine.stop()
        self.log.end()
        self.result = result
        self.done.set()

    async def _exit_snapshot(self) -> str:
        layer = await self.machine.snapshot()
        now = self._now()
        image = self.image.child(now, (layer, *self.machine.layers))
        image.expires_at = now + EXIT_SNAPSHOT_LIFE
        self._world.images[image.id] = image
        return image.id

    def _expire(self, running: Exec) -> None:
        if not running.process.exited.done():
            running.timed_out = True
            running.process.kill()

    def _leave(self) -> None:
        self.busy -= 1
        self._watch_idle()

    def _watch_idle(self) -> None:
        """Start the idle clock again, unless something continues."""
        limit = self.definition.idle_timeout_secs
        if not limit or self.busy or self._ending:
            return
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = self._world.clock.call_at(self._now() + limit, self._idle)

    def _idle(self) -> None:
        if not self.busy:
            self.end(RESULT.GENERIC_STATUS_IDLE_TIMEOUT)

    def _logger(self, source: int) -> Callable[[bytes], None]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def keep(data: bytes) -> None:
            if text := decoder.decode(data):
                self.log.add(LogLine(self._world.clock.now(), source, text))

        return keep

    def _binds(self) -> list[Bind]:
        volumes = self._world.volumes
        return [
            Bind(volumes[mount.volume_id].path, mount.mount_path, mount.read_only)
            for mount in self.definition.volume_mounts
        ]

    def _own_env(self) -> dict[str, str]:
        return {
            "MODAL_SANDBOX_ID": self.id,
            "MODAL_TASK_ID": self.task_id,
            "MODAL_IMAGE_ID": self.image.id,
            "MODAL_CLOUD_PROVIDER": "EMULATOR",
            "MODAL_REGION": "loopback",
        }

    def _now(self) -> float:
        return self._world.clock.now()
