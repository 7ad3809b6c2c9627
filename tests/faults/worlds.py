"""The provider's side of a campaign: what bills, what lives, what it has cost, and how to make a
call of it go wrong. One class a provider; times are the emulator's."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import requests

from devbox import paths, spec
from devbox.providers.local.folder import parse_lines
from devbox.ssh import keys
from tests.contract.harness_local import processes_under
from tests.emulators.common import Calls, Clock, Fault, Knobs, Meter
from tests.emulators.common.calls import Phase
from tests.emulators.docker_proxy import DockerProxy
from tests.emulators.hf import HfEmulator, Times
from tests.emulators.modal import ModalEmulator, Stages
from tests.faults.points import (
    CUT,
    ERRORS,
    FULL,
    HTML,
    KILL_AFTER,
    KILL_BEFORE,
    KINDS,
    LIMITED,
    LOST,
    RETRY_AFTER,
    Point,
)
from tests.providers.docker import world as docker_world
from tests.providers.host.machine import Machine

LIFE = ("up", "pause", "resume", "down")


class Stretch(NamedTuple):
    """One billed stretch. rate: micro-dollars an hour. unit: seconds that are billed whole."""

    start: float
    end: float | None
    rate: float
    unit: int = 0


class World(ABC):
    """One provider, as the campaign drives it. Made with HOME and DEVBOX_HOME set."""

    name: ClassVar[str]
    verbs: ClassVar[tuple[str, ...]] = LIFE
    #: what may go wrong with each call
    kinds: ClassVar[tuple[str, ...]] = KINDS
    #: seconds by which the provider's clock is ahead of this computer's
    ahead: ClassVar[float] = 0.0
    #: how it is asked for and shown, where that is not the provider's name
    title: ClassVar[str] = ""
    #: files on the box outlive a pause
    keeps_files: ClassVar[bool] = False
    #: where a Tripwire goes; None: faults are the emulator's to make
    trip: ClassVar[str | None] = None
    #: dollars by which ledger and meter may differ in a world whose time cannot be advanced
    slack: ClassVar[float] = 0.0
    #: seconds from the request until the box runs, the provider's calls aside
    stages: ClassVar[float] = 0.0
    box: ClassVar[str] = ""
    section: ClassVar[str] = ""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.project = home / f"project-{self.name}"
        self.project.mkdir(exist_ok=True)
        (self.project / "main.py").write_text("print('hello')\n")

    @classmethod
    def label(cls) -> str:
        return cls.title or cls.name

    def write_toml(self, settings: str = "") -> None:
        text = f'project = "p"\n[boxes.b]\nprovider = "{self.name}"\n{self.box}\n'
        (self.project / "devbox.toml").write_text(f"{text}{self.section}\n{settings}\n")
        spec.trust_file(self.project / "devbox.toml")

    def env(self) -> dict[str, str]:
        """What devbox's process needs besides HOME and DEVBOX_HOME."""
        return {}

    def arm(self, point: Point, pid: Callable[[], int]) -> Callable[[], bool]:
        """Make one call go wrong in the process `pid()`; the result says whether it was reached."""
        del point, pid
        return lambda: False

    def disarm(self, *, everything: bool = False) -> None:  # noqa: B027 - most have nothing to do
        """Everything goes right again; with `everything` listings do not lag either."""

    def routes(self) -> list[str]:
        """All calls so far, as the provider's side saw them."""
        return []

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @abstractmethod
    def live(self) -> int:
        """Boxes that exist, paused ones too."""

    @abstractmethod
    def billing(self) -> int:
        """Boxes that cost now."""

    @abstractmethod
    def bill(self) -> list[Stretch]:
        """Everything ever billed."""

    def close(self) -> None:  # noqa: B027 - most worlds have nothing to do
        """End it all."""

    def unexpected(self) -> list[str]:
        """What the emulator was asked and does not know."""
        return []


class LocalWorld(World):
    """A watcher reads the boxes' meters as they are written, for they go with the boxes."""

    name = "local"
    keeps_files = True
    trip = "provider"
    slack = 0.25 / 3600  # a quarter of a second of a dollar an hour
    section = "[providers.local]\nprice = 1.0"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.write_toml()
        self._folder = paths.local_boxes()
        self._lives: dict[tuple[str, int], Stretch] = {}
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def advance(self, seconds: float) -> None:
        """Real processes in real time."""

    def live(self) -> int:
        return len(list(self._folder.glob("[!.]*/box.json")))

    def billing(self) -> int:
        return len({mark for mark, _ in processes_under(self._folder)})

    def bill(self) -> list[Stretch]:
        return list(self._lives.values())

    def close(self) -> None:
        self._closed.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._closed.wait(0.01):
            there = set()
            for file in self._folder.glob("[!.]*/meter.jsonl"):
                there.add(file.parent.name)
                with suppress(OSError):
                    self._read(file.parent.name, parse_lines(file.read_bytes()))
            for (box, life), (start, end, rate, _) in list(self._lives.items()):
                if end is None and box not in there:
                    self._lives[box, life] = Stretch(start, time.time(), rate)

    def _read(self, box: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            key = (box, line["life"])
            if line["event"] == "start":
                self._lives.setdefault(key, Stretch(line["at"], None, 1e6))
            elif key in self._lives:
                self._lives[key] = Stretch(self._lives[key].start, line["at"], 1e6)


class SshWorld(World):
    name = "ssh"
    verbs = ("up", "down")
    trip = "person"
    box = 'host = "lab"'
    section = "[providers.ssh]\nprice = 1.0"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.lab = Machine(home, "lab")
        self.write_toml()

    def live(self) -> int:
        return len(self.lab.ours)

    def billing(self) -> int:
        return self.live()

    def bill(self) -> list[Stretch]:
        """A machine of one's own has no bill to compare with."""
        return []

    def close(self) -> None:
        self.lab.close()


class Emulated(World):
    kinds: ClassVar[tuple[str, ...]] = (*KINDS, FULL)
    calls: Calls
    knobs: Knobs
    meter: Meter

    def arm(self, point: Point, pid: Callable[[], int]) -> Callable[[], bool]:
        seen = {"before": 0, "after": 0}

        def on_call(route: str, phase: Phase) -> bool | None:
            if route != point.route:
                return None
            seen[phase] += 1
            if seen[phase] != point.nth:
                return None
            if (phase, point.kind) in (("before", KILL_BEFORE), ("after", KILL_AFTER)):
                os.kill(pid(), signal.SIGKILL)
                return False
            if (phase, point.kind) == ("before", FULL):
                fill_disk(pid())
            elif phase == "before" and not point.kills:
                fault, times = _FAULTS[point.kind]
                self.knobs.set(route, fault, times=times)
            return None

        self.calls.on_call = on_call
        phase = "after" if point.kind == KILL_AFTER else "before"
        return lambda: seen[phase] >= point.nth

    def disarm(self, *, everything: bool = False) -> None:
        self.calls.on_call = None
        if everything:
            self.knobs.clear()
        for route, faults in self.knobs.armed().items():
            if any(fault in [f for f, _ in _FAULTS.values()] for fault in faults):
                self.knobs.clear(route)

    def routes(self) -> list[str]:
        return self.calls.routes

    def billing(self) -> int:
        return len(self.meter.billing())

    def bill(self) -> list[Stretch]:
        return [
            Stretch(each.start, each.end, each.rate * 3600, each.unit)
            for each in self.meter.intervals()
        ]


def fill_disk(pid: int) -> None:
    """Have every write of a regular file by that process refused from now on, which is stricter
    than a full disk: that lets a file be written over (setrlimit(2), RLIMIT_FSIZE)."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))


_FAULTS = {
    LOST: (Fault.reply_lost(), 1),
    ERRORS: (Fault.server_error(), 3),
    LIMITED: (Fault.rate_limited(RETRY_AFTER), 1),
    HTML: (Fault.html(), 1),
    CUT: (Fault.cut_body(), 1),
}
STAGE = 0.05  # seconds that each stage of an emulated box takes
LAG = 8.0  # seconds by which listings lag


class _HfWorld(Emulated):
    kinds: ClassVar[tuple[str, ...]] = (*KINDS, FULL, HTML, CUT)
    box = 'hardware = "t4-small"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.hub = HfEmulator(
            clock=self.clock, times=Times(STAGE, STAGE, STAGE), state_dir=home / f"hub-{self.name}"
        ).__enter__()
        self.calls, self.knobs, self.meter = self.hub.calls, self.hub.knobs, self.hub.meter
        assert self.hub.account.ssh_keys is not None
        self.hub.account.ssh_keys.append(keys.ensure_identity())
        self.write_toml(f'[providers.hf]\nssh_gateway = "{self.hub.gateway_host_port}"')

    def env(self) -> dict[str, str]:
        return self.hub.env()

    def close(self) -> None:
        self.hub.__exit__(None, None, None)

    def unexpected(self) -> list[str]:
        return self.hub.unexpected


class SpaceWorld(_HfWorld):
    name = "hf-space"
    stages = 2 * STAGE

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        (self.project / "Dockerfile").write_text("FROM python:3.12-bookworm\nCMD sleep infinity\n")
        (self.project / "README.md").write_text("---\nsdk: docker\n---\n")
        self.knobs.set("list_spaces", Fault.list_lag(LAG), times=None)

    def live(self) -> int:
        return len(self.hub.spaces)


class JobWorld(_HfWorld):
    name = "hf-job"
    stages = STAGE
    verbs = ("up", "down")

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.knobs.set("list_jobs", Fault.list_lag(LAG / 2), times=None)

    def live(self) -> int:
        return sum(not job.over for job in self.hub.jobs.values())


AHEAD = 600.0


class SpaceAheadWorld(SpaceWorld):
    """The Hub's clock is ahead of this computer's."""

    title = "hf-space-ahead"
    ahead = AHEAD
    kinds = (KILL_AFTER, LOST)


class JobAheadWorld(JobWorld):
    title = "hf-job-ahead"
    ahead = AHEAD
    kinds = (KILL_AFTER, LOST)


class ModalWorld(Emulated):
    name = "modal"
    stages = STAGE
    keeps_files = True
    box = 'hardware = "T4"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        stages = Stages(STAGE, STAGE, STAGE, STAGE)
        self.modal = ModalEmulator(clock=self.clock, stages=stages, list_lag=LAG).__enter__()
        self.calls, self.knobs, self.meter = self.modal.calls, self.modal.knobs, self.modal.meter
        self.write_toml()

    def env(self) -> dict[str, str]:
        return self.modal.env()

    def live(self) -> int:
        return sum(each.result is None for each in self.modal.sandboxes.values())

    def close(self) -> None:
        self.modal.__exit__(None, None, None)

    def unexpected(self) -> list[str]:
        return self.modal.unexpected


_DOCKER_PRICE = 1e6  # micro-dollars an hour


class DockerWorld(Emulated):
    """A real engine behind a proxy, in real time. What it bills is what its own events say of
    containers that start and end."""

    name = "docker"
    keeps_files = True
    slack = 2.0 / 3600  # a removal takes a second or two, and a removed container tells no end
    box = f'image = "{docker_world.IMAGE}"'

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._space = docker_world.Space()
        self._proxy = DockerProxy(docker_world.engine(), self.clock).__enter__()
        self.calls, self.knobs = self._proxy.calls, self._proxy.knobs
        self.write_toml(
            f'[providers.docker]\ndocker_host = "{self._proxy.address}"\n'
            f'namespace = "{self._space.namespace}"\nprice = 1.0'
        )
        self._open: dict[str, float] = {}
        self._closed: list[Stretch] = []
        self._events = self._space.client.events(
            decode=True,
            filters={"label": f"devbox.namespace={self._space.namespace}"},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def advance(self, seconds: float) -> None:
        """Real containers in real time."""

    def live(self) -> int:
        return len(self._space.containers())

    def billing(self) -> int:
        return len(self._space.containers(every=False))

    def bill(self) -> list[Stretch]:
        # Events come a moment after what they tell of.
        until = time.monotonic() + 5
        while len(self._open) != self.billing() and time.monotonic() < until:
            time.sleep(0.01)
        begun = [Stretch(start, None, _DOCKER_PRICE) for start in self._open.values()]
        return [*self._closed, *begun]

    def close(self) -> None:
        self._events.close()
        self._listener.join(5)
        self._proxy.__exit__(None, None, None)
        self._space.close()

    def unexpected(self) -> list[str]:
        return self.calls.unexpected

    def _listen(self) -> None:
        try:
            for event in self._events:
                self._hear(str(event.get("id")), str(event.get("status")), event["timeNano"] / 1e9)
        except (requests.RequestException, OSError, ValueError):
            return  # why: the stream was closed under it, which is how it ends

    def _hear(self, container: str, status: str, at: float) -> None:
        if status == "start":
            self._open[container] = at
        elif status == "die" and container in self._open:
            self._closed.append(Stretch(self._open.pop(container), at, _DOCKER_PRICE))


WORLDS: tuple[type[World], ...] = (
    LocalWorld,
    SshWorld,
    SpaceWorld,
    SpaceAheadWorld,
    JobWorld,
    JobAheadWorld,
    ModalWorld,
    DockerWorld,
)
