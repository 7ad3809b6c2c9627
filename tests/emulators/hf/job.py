"""One Job: a real process with a deadline, its log, its bill, and a way in over SSH."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.emulators.common import Box, Timer
from tests.emulators.gateway import Login, Refused
from tests.emulators.hf.hardware import EXPOSED_PORTS_USD_PER_HOUR, Flavor
from tests.emulators.hf.logs import Log, stamp

if TYPE_CHECKING:
    from tests.emulators.hf.hub import Hub

DEFAULT_TIMEOUT_SECONDS = 30 * 60
FINISHED = {"COMPLETED", "CANCELED", "ERROR", "DELETED"}


@dataclass
class Job:
    """State of one Job. The command runs on this machine; its image is only remembered.

    ``gpu_utilization`` (percent) and ``gpu_memory`` (bytes) are what the
    metrics stream reports. The command's end, a cancel or the timeout end
    every process of the Job.
    """

    hub: Hub
    id: str
    namespace: str
    spec: dict[str, Any]
    created: float
    broken_build: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stage: str = "SCHEDULING"
    message: str | None = None
    started: float | None = None
    finished: float | None = None
    gpu_utilization: int = 0
    gpu_memory: int = 0
    box: Box | None = None
    history: list[tuple[float, str]] = field(default_factory=list)
    _timers: list[Timer] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.log = Log(self.hub.clock)
        self._left: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.labels = dict(self.spec.get("labels") or {})
        self.history.append((self.created, self.stage))
        self._at(self.created + self.hub.times.schedule, self._run)

    @property
    def flavor(self) -> Flavor:
        return self.hub.flavors["jobs"][self.spec["flavor"]]

    @property
    def rate(self) -> float:
        """Micro-USD per second."""
        usd = EXPOSED_PORTS_USD_PER_HOUR if self.ports else 0.0
        return self.flavor.micro_usd_per_second + usd * 1e6 / 3600

    @property
    def over(self) -> bool:
        return self.stage in FINISHED

    @property
    def ports(self) -> list[int]:
        return list((self.spec.get("expose") or {}).get("ports") or [])

    def leave(self, code: int = 0) -> None:
        """End of the main process of a Job in which nothing really runs."""
        if not self._left.done():
            self._left.set_result(code)

    def cancel(self) -> None:
        """Stop it, wherever it is."""
        self._finish("CANCELED", None)

    async def settled(self) -> None:
        """Until nothing of it runs any more, after it is over."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=10)

    def info(self) -> dict[str, Any]:
        """The Hub's description of the Job."""
        now = self.hub.clock.now()
        end = self.finished or now
        status: dict[str, Any] = {"stage": self.stage, "message": self.message}
        if self.ports:
            status["exposeUrls"] = [f"https://{self.id}--{port}.hf.jobs" for port in self.ports]
        if self.ssh_enabled:
            status["sshUrl"] = f"ssh://{self.id}@{self.hub.gateway_address}"
        owner = {"id": self.hub.account.user_id, "name": self.namespace, "type": "user"}
        shown = ("command", "arguments", "environment", "flavor", "dockerImage", "spaceId")
        return {
            "id": self.id,
            "createdAt": stamp(self.created),
            "startedAt": None if self.started is None else stamp(self.started),
            "finishedAt": None if self.finished is None else stamp(self.finished),
            **{key: self.spec[key] for key in shown if key in self.spec},
            "secrets": dict.fromkeys(self.spec.get("secrets") or {}, ""),
            "labels": self.labels or None,
            "volumes": self.spec.get("volumes"),
            "status": status,
            "durations": {
                "schedulingSecs": None
                if self.started is None
                else int(self.started - self.created),
                "runningSecs": None if self.started is None else int(end - self.started),
                "totalSecs": int(end - self.created),
            },
            "owner": owner,
            "initiator": owner,
            "retry": max(0, int(self.spec.get("attempts") or 1) - 1),
            "expose": self.spec.get("expose"),
            "network": self.spec.get("network"),
        }

    def metrics(self) -> dict[str, Any]:
        """One sample of the metrics stream."""
        gpus = {}
        if self.flavor.gpu is not None:
            _, quantity, vram = self.flavor.gpu
            gpus = {
                f"gpu{index:05d}": {
                    "utilization": self.gpu_utilization,
                    "memory_used_bytes": self.gpu_memory,
                    "memory_total_bytes": vram * 10**9,
                }
                for index in range(quantity)
            }
        return {
            "cpu_usage_pct": 3,
            "cpu_millicores": self.flavor.cpu * 1000,
            "memory_used_bytes": 1_417_216,
            "memory_total_bytes": self.flavor.ram * 10**9,
            "rx_bps": 0,
            "tx_bps": 0,
            "gpus": gpus,
            "replica": self.id[:5],
        }

    @property
    def ssh_enabled(self) -> bool:
        return bool((self.spec.get("ssh") or {}).get("enabled"))

    def login(self) -> Login | Refused:
        """Where the SSH gateway leads."""
        box = self.box
        if not self.ssh_enabled:
            return Refused(f"SSH is not enabled on Job {self.id}")
        if box is None or self.stage != "RUNNING":
            return Refused(f"Job {self.id} is not running (stage {self.stage})")
        return Login(box, self._environment(), lambda: self.box is box)

    def _run(self) -> None:
        if self.broken_build:
            for line in self.broken_build:
                self.log.write(line)
            self._finish("ERROR", "Failed to pull the image")
            return
        if self.flavor.name in self.hub.full:
            self._at(self.hub.clock.now() + max(self.hub.times.schedule, 0.05), self._run)
            return
        self.box = Box(self.hub.state_dir / "boxes" / self.id, hollow=self.hub.hollow)
        self.hub.mount(self.box, self.spec.get("volumes") or [])
        self.started = self.hub.clock.now()
        self._show("RUNNING")
        self.hub.meter.start(self.id, self.rate, self.flavor.name)
        self.log.write(f"===== Job started at {self.hub.stamp_line()} =====")
        limit = self.spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS
        self._at(self.started + limit, lambda: self._finish("ERROR", "Job timeout"))
        self._task = asyncio.get_running_loop().create_task(self._supervise(self.box))
        self.hub.on_boot(self.id)

    async def _supervise(self, box: Box) -> None:
        code = 1
        for _ in range(int(self.spec.get("attempts") or 1)):
            code = await self._attempt(box)
            if code == 0 or self.over:
                break
        if code == 0:
            self._finish("COMPLETED", None)
        else:
            self._finish("ERROR", f"Job failed with exit code: {code}. Reason: Error")

    async def _attempt(self, box: Box) -> int:
        if self.hub.hollow:
            return await self._left
        argv = [*(self.spec.get("command") or []), *(self.spec.get("arguments") or [])]
        try:
            child = await asyncio.create_subprocess_exec(
                *(argv or ["true"]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=box.environment(self._environment()),
                cwd=box.root,
                start_new_session=True,
            )
        except OSError as error:
            self.log.write(f"{argv[0]}: {os.strerror(error.errno or 0)}")
            return 127
        if self.over:
            # It was ended while its process was being made, which nobody could see yet.
            box.remove()
        assert child.stdout is not None
        end = asyncio.ensure_future(child.wait())
        lines = asyncio.ensure_future(self._copy(child.stdout))
        await end
        box.kill()  # with the main process a container ends, whatever else runs in it
        await lines
        code = end.result()
        return 128 - code if code < 0 else code

    async def _copy(self, source: asyncio.StreamReader) -> None:
        pending = b""
        while data := await source.read(1 << 16):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.log.write(line.decode(errors="replace"))
        if pending:
            self.log.write(pending.decode(errors="replace"))

    def _finish(self, stage: str, message: str | None) -> None:
        if self.over:
            return
        for timer in self._timers:
            timer.cancel()
        self.finished = self.hub.clock.now()
        self.leave()
        self.message = message
        self._show(stage)
        self.hub.meter.stop(self.id)
        box, self.box = self.box, None
        self.hub.disconnect(self.id)
        if box is not None:
            box.remove()
        self.log.close()

    def _environment(self) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.hub.endpoint,
            "JOB_ID": self.id,
            "CPU_CORES": str(self.flavor.cpu),
            "MEMORY": f"{self.flavor.ram}Gi",
            "ACCELERATOR": self.flavor.gpu[0].lower() if self.flavor.gpu else "none",
            **{key: str(value) for key, value in (self.spec.get("environment") or {}).items()},
            **{key: str(value) for key, value in (self.spec.get("secrets") or {}).items()},
        }

    def _show(self, stage: str) -> None:
        self.stage = stage
        self.history.append((self.hub.clock.now(), stage))

    def _at(self, when: float, act: Any) -> None:
        self._timers.append(self.hub.clock.call_at(when, act))
