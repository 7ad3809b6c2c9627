"""A provider in memory that keeps the contract of `devbox.providers.base`, and a project there.

    ws = a_project(home, cloud := Cloud())
    cloud.fail("create", after=Unavailable("cut"))    # its effect comes, its answer does not

Time is `cloud.clock`, which a wait moves. Its boxes are commands, which need no ssh, or are brought
up with wait=False.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devbox import spec
from devbox.errors import Gone, NoCapacity
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState, Hardware, Offer, Price
from devbox.providers.abilities import (
    CanPause,
    CanRenew,
    CanResize,
    CanRestart,
    HasBuildLogs,
    HasHistory,
)
from devbox.providers.base import Kept, Observation, Provider, Request, Step, at_once
from devbox.spec import BoxSpec
from devbox.workspace import Workspace
from tests.emulators.common import Clock

#: a box that is reached by ssh; nothing answers there
REACHED = '[boxes.b]\nprovider = "local"\n'
COMMAND = '[boxes.b]\nprovider = "local"\ncommand = ["train"]\n'
MINUTE, HOUR = 60.0, 3600.0
#: dollars an hour of its hardware
RATES = {"small": 3.6, "large": 36.0}


class Cloud(Provider, HasHistory):
    """there: what it has, by handle. stages: what a box that begins shows at first, and at each
    later look: fields of an Observation. hidden: handles that no listing shows. full: hardware that
    is not free."""

    bills = True
    runs_commands = True

    def __init__(self, name: str = "local", clock: Clock | None = None) -> None:
        self.name = name
        self.clock = clock or Clock.manual()
        self.account = "me"
        self.there: dict[str, Observation] = {}
        self.past: list[Observation] = []
        self.stages: list[dict[str, Any]] = [{"state": BoxState.RUNNING}]
        self.hidden: set[str] = set()
        self.full: set[str] = set()
        self.calls: list[str] = []
        self.requests: list[Request] = []
        self._coming: dict[str, list[dict[str, Any]]] = {}
        self._faults: dict[str, list[tuple[BaseException | None, BaseException | None]]] = {}

    def fail(
        self,
        call: str,
        before: BaseException | None = None,
        *,
        after: BaseException | None = None,
        times: int = 1,
    ) -> None:
        """The next calls of that name fail: `before` they do anything, or `after` it."""
        self._faults.setdefault(call, []).extend([(before, after)] * times)

    def mend(self) -> None:
        """No call fails any more."""
        self._faults.clear()

    @contextmanager
    def _called(self, call: str) -> Iterator[None]:
        self.calls.append(call)
        faults = self._faults.get(call)
        before, after = faults.pop(0) if faults else (None, None)
        if before:
            raise before
        yield
        if after:
            raise after

    def show(self, handle: str, **fields: Any) -> None:
        """From now on it shows that; a state begins or ends what is billed."""
        seen = self.there[handle]
        bills = fields.get("state", seen.state) is BoxState.RUNNING
        if bills and not seen.billed:
            fields = {"billed": True, "billed_since": self.clock.now(), **fields}
        if seen.billed and not bills:
            fields = {"billed": False, "ended_at": self.clock.now(), **fields}
        self.there[handle] = seen._replace(**fields)

    def begin(self, request: Request, handle: str) -> None:
        """A box of that request is there, at its first stage."""
        self.requests.append(request)
        old = self.there.get(handle)
        if old and old.ended_at:
            self.past.append(old)
        self.there[handle] = Observation(
            handle, request.name, request.token, BoxState.PROVISIONING, hardware=request.hardware
        )
        self._coming[handle] = list(self.stages)
        self._move(handle)

    def _move(self, handle: str) -> None:
        if coming := self._coming.get(handle):
            self.show(handle, **{"stage": "", "message": "", **coming.pop(0)})

    def identity(self) -> str:
        with self._called("identity"):
            return self.account

    def offers(self) -> list[Offer]:
        with self._called("offers"):
            return [
                Offer(self.name, Hardware(name), Price(round(rate * 1_000_000), "live"), 0.0)
                for name, rate in RATES.items()
            ]

    def lacks_hardware(self, stage: str, message: str) -> bool:
        return stage == "QUEUED"

    def create(self, request: Request) -> str:
        with self._called("create"):
            request.asking()
            if request.hardware in self.full:
                raise NoCapacity(f"{self.name} has no {request.hardware} free", no_effect=True)
            made = [seen for seen in self._listed() if seen.name == request.name]
            if made:
                return made[0].handle
            handle = f"h{len(self.there) + 1}"
            self.begin(request, handle)
        return handle

    def observe(self, handle: str) -> Observation | None:
        with self._called("observe"):
            if handle in self.there:
                seen = self.there[handle]
                self._move(handle)
                return seen
        return None

    def find(self, token: str | None = None) -> list[Observation]:
        with self._called("find"):
            return [seen for seen in self._listed() if token in (None, seen.token)]

    def _listed(self) -> list[Observation]:
        return [
            seen
            for seen in self.there.values()
            if seen.state is not BoxState.TERMINATED and seen.handle not in self.hidden
        ]

    def terminate(self, handle: str) -> None:
        with self._called("terminate"):
            if handle in self.there:
                self._coming.pop(handle, None)
                self.show(handle, state=BoxState.TERMINATED)

    def history(self, token: str) -> list[Observation]:
        with self._called("history"):
            found = [*self.past, *self.there.values()]
            return [s for s in found if s.token == token and s.handle not in self.hidden]


class Pausing(Cloud, CanPause, CanRestart, CanResize, CanRenew, HasBuildLogs):
    """With every other thing that a provider may do to a box. log: of each build. kept: what a
    pause keeps."""

    resume_takes = frozenset({"hardware"})
    log: tuple[str, ...] = ()
    kept = Kept(disk=True)

    def pause_keeps(self, wanted: BoxSpec) -> Kept:
        return self.kept

    def pause(self, handle: str) -> str:
        with self._called("pause"):
            if self.there[handle].state is BoxState.TERMINATED:
                raise Gone(f"there is no {handle}")
            self._coming.pop(handle, None)
            self.show(handle, state=BoxState.PAUSED)
        return handle

    def resume(self, request: Request, handle: str) -> str:
        with self._called("resume"):
            if self.there[handle].state is not BoxState.PAUSED:
                return handle
            if request.hardware in self.full:
                raise NoCapacity(f"{self.name} has no {request.hardware} free", no_effect=True)
            self.begin(request, handle)
        return handle

    def restart(self, handle: str, *, factory: bool) -> None:
        with self._called(f"restart {factory}"):
            self.show(handle, state=BoxState.RUNNING)

    def resize(self, handle: str, hardware: str) -> None:
        with self._called(f"resize {hardware}"):
            self.show(handle, hardware=hardware, price=Price(round(RATES[hardware] * 1_000_000)))

    def renew(self, request: Request, handle: str, step: Step = at_once) -> str:
        step("end", lambda: self.terminate(handle))
        successor = f"{handle}-next"
        step("start", lambda: self.begin(request, successor))
        return successor

    def build_logs(self, handle: str, *, follow: bool) -> Iterator[str]:
        with self._called("build_logs"):
            yield from self.log


def a_project(home: Path, *clouds: Cloud, toml: str = COMMAND) -> Workspace:
    """Trusted, and in the time of the first of them."""
    root = home / "project"
    root.mkdir(exist_ok=True)
    (root / "devbox.toml").write_text(toml)
    spec.trust_file(root / "devbox.toml")
    clock = clouds[0].clock

    def sleep(seconds: float) -> None:
        clock.advance(seconds)

    loaded = spec.load(root / "devbox.toml")
    return Workspace(loaded, providers=clouds, clock=clock.now, sleep=sleep)


def told(ws: Workspace) -> list[str]:
    """What is narrated from now on."""
    lines: list[str] = []
    ws.narrate = lines.append
    return lines


def operation(ws: Workspace, box: Box | None = None) -> BoxOperation:
    """On box b as its row is."""
    return BoxOperation(ws, box or ws.box("b"))
